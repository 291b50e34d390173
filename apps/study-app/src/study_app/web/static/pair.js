// The page of pairs, and of single images.

import { Enlarged } from "./enlarged.js";
import { Pictures } from "./pictures.js";
import { Reading } from "./reading.js";

const slots = [...document.querySelectorAll(".picture")];
const enlarged = new Enlarged(document.querySelector("#enlarged"));

for (const slot of slots) {
  slot.addEventListener("click", (event) => {
    const image = slot.querySelector("img");
    const { left, top, width, height } = image.getBoundingClientRect();
    const byMouse = event.detail > 0;
    enlarged.open(image, byMouse ? [(event.clientX - left) / width, (event.clientY - top) / height] : [0.5, 0.5]);
  });
}

new Reading(new Pictures(slots)).start();
