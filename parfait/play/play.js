"use strict";
// The page works without this file; sliders, examples, copies and removals need it.
const root = document.documentElement;
const edit = document.querySelector(".edit");
const most = Number(edit?.dataset.most); // scenarios

function mix() {
  if (!edit) return;
  const cards = [...edit.querySelectorAll(".card")];
  const weights = cards.map((card) => Math.max(0, Number(card.querySelector("[name=weight]").value) || 0));
  const total = weights.reduce((a, b) => a + b, 0);
  edit.querySelector(".mix").replaceChildren(...weights.map((weight, k) => {
    const part = document.createElement("i");
    part.style.width = `${total ? 100 * weight / total : 0}%`;
    part.style.setProperty("--c", `var(--s${k})`);
    return part;
  }));
  const exact = Math.abs(total - 100) < 0.1;
  edit.querySelector(".total").textContent =
    `Weights sum to ${Number(total.toFixed(1))} %${exact ? "." : "; they will be scaled to 100 %."}`;
  cards.forEach((card, k) => {
    card.style.setProperty("--c", `var(--s${k})`);
    card.querySelector("[data-remove]").disabled = cards.length === 1;
    card.querySelector("[data-copy]").disabled = cards.length >= most;
  });
}

document.addEventListener("input", ({ target }) => {
  const slide = target.closest(".slide");
  if (!slide) return;
  const [range, number] = slide.querySelectorAll("input");
  if (target === range) number.value = range.value;
  else if (number.value !== "") range.value = number.value;
  mix();
});

document.addEventListener("click", ({ target }) => {
  if (target.dataset.example !== undefined) {
    const text = document.querySelector("[name=instruction]");
    text.value = target.dataset.example;
    text.focus();
    return;
  }
  const card = target.closest(".card");
  if (!card) return;
  if (target.dataset.remove !== undefined) card.remove();
  if (target.dataset.copy !== undefined) {
    const copy = card.cloneNode(true);
    copy.querySelectorAll("[id]").forEach((node) => node.removeAttribute("id"));
    card.after(copy);
  }
  mix();
});

document.addEventListener("submit", ({ target }) => {
  const button = target.querySelector(".go");
  button.dataset.idle = button.textContent;
  button.textContent = button.dataset.busy;
  button.disabled = true;
});

window.addEventListener("pageshow", () => { // also when a browser goes back
  document.querySelectorAll(".go[data-idle]").forEach((button) => {
    button.textContent = button.dataset.idle;
    button.disabled = false;
  });
  mix();
});

root.classList.add("ready");
