// The pictures of an item. They are loaded and decoded before their turn, and come on screen together.

export class Pictures {
  // slots: the elements that hold a picture each, with those of the first item in them.
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

  // Forgets all pictures but those of some items.
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
    loading.catch(() => this.loading.delete(address)); // the next try begins anew
    this.loading.set(address, loading);
  }
}
