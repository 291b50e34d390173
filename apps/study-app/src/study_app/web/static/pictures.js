// The pictures of an item, loaded and decoded before they are needed, and shown together.

export class Pictures {
  // slots: elements with one picture each, at first those of the first item.
  constructor(slots) {
    this.slots = slots;
    this.first = slots.map((slot) => slot.querySelector("img"));
    this.loading = new Map();
    this.first.forEach((image) => this.decode(image.getAttribute("src"), image));
  }

  // Resolves when an item can be shown at once; rejects if it cannot be loaded now.
  async prepare(item) {
    await Promise.all(item.pictures.map((address) => this.load(address)));
  }

  async show(item) {
    const images = await Promise.all(item.pictures.map((address) => this.load(address)));
    this.slots.forEach((slot, i) => {
      images[i].alt = this.first[i].alt;
      slot.replaceChildren(images[i]);
    });
  }

  // Forgets all pictures except those of some items.
  keepOnly(items) {
    const kept = new Set(items.flatMap((item) => item.pictures));
    for (const address of this.loading.keys()) {
      if (!kept.has(address)) this.loading.delete(address);
    }
  }

  load(address) {
    if (!this.loading.has(address)) {
      const image = new Image(this.first[0].width, this.first[0].height);
      image.src = address;
      this.decode(address, image);
    }
    return this.loading.get(address);
  }

  decode(address, image) {
    const loading = image.decode().then(() => image);
    loading.catch(() => this.loading.delete(address)); // so that the next try loads it again
    this.loading.set(address, loading);
  }
}
