"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const cards = [...document.querySelectorAll("article")];
  const storageKey = `seqtune-labels/${document.documentElement.dataset.key}`;
  const told = { yes: true, no: false, open: null };
  const state = { by: "", at: 0, cards: {} };
  let shownSince = Date.now();

  function tell(text, isWarning = false) {
    find("told").textContent = text;
    find("told").hidden = !text;
    find("told").classList.toggle("warning", isWarning);
  }

  const steps = (card) => [...card.querySelectorAll(".step")];
  const chosen = (field) => field.querySelector("input:checked");
  const complete = (card) => steps(card).every(chosen);
  const current = () => cards[state.at];

  // Progress is kept under a key of this page's own answers; another page's labels are never mixed in.
  function keep() {
    try {
      localStorage.setItem(storageKey, JSON.stringify(state));
    } catch {
      tell("This browser keeps nothing for this page: save before you close it.", true);
    }
  }

  function restore() {
    try {
      Object.assign(state, JSON.parse(localStorage.getItem(storageKey) || "{}"));
    } catch {
      tell("What this browser had kept cannot be read, or it keeps nothing: save before you close the page.", true);
    }
    state.at = Math.min(Math.max(0, Number(state.at) || 0), cards.length - 1);
    find("by").value = state.by;
    for (const card of cards) {
      const kept = state.cards[card.dataset.item];
      if (!kept) continue;
      for (const field of steps(card)) choose(field, kept.steps[field.dataset.step]);
      choose(card.querySelector(".quality"), kept.quality);
    }
  }

  function choose(field, value) {
    for (const input of field.querySelectorAll("input")) input.checked = input.value === value;
  }

  function note(card) {
    const kept = (state.cards[card.dataset.item] ??= { steps: {}, quality: "", seconds: 0 });
    kept.steps = Object.fromEntries(steps(card).map((field) => [field.dataset.step, chosen(field)?.value ?? ""]));
    kept.quality = chosen(card.querySelector(".quality"))?.value ?? "";
    kept.seconds += Math.min(600, (Date.now() - shownSince) / 1000);
    shownSince = Date.now();
    tell("");
    keep();
    count();
  }

  function count() {
    const done = cards.filter(complete).length;
    const begun = cards.filter((card) => !complete(card) && card.querySelector(".step input:checked")).length;
    find("progress").value = done;
    find("count").textContent = `${done} labelled` + (begun ? `, ${begun} begun` : "");
  }

  function show(at) {
    current().hidden = true;
    state.at = Math.min(Math.max(0, at), cards.length - 1);
    current().hidden = false;
    shownSince = Date.now();
    find("place").textContent = `${state.at + 1} of ${cards.length}`;
    find("back").disabled = state.at === 0;
    find("next").disabled = state.at === cards.length - 1;
    point(steps(current()).find((field) => !chosen(field)) ?? steps(current())[0]);
    scrollTo(0, 0);
    keep();
  }

  function point(field) {
    for (const other of current().querySelectorAll(".here")) other.classList.remove("here");
    field.classList.add("here");
  }

  const pointed = () => current().querySelector(".here");

  function answer(value) {
    const all = steps(current());
    choose(pointed(), value);
    note(current());
    const after = all.slice(all.indexOf(pointed()) + 1).find((field) => !chosen(field));
    point(after ?? all.find((field) => !chosen(field)) ?? pointed());
    pointed().scrollIntoView({ block: "nearest" });
  }

  function rate(value) {
    const field = current().querySelector(".quality");
    choose(field, chosen(field)?.value === value ? "" : value);
    note(current());
  }

  function move(by) {
    const all = steps(current());
    const at = Math.min(Math.max(0, all.indexOf(pointed()) + by), all.length - 1);
    point(all[at]);
    all[at].scrollIntoView({ block: "nearest" });
  }

  function firstOpen() {
    const at = cards.findIndex((card) => !complete(card));
    show(at < 0 ? cards.length - 1 : at);
  }

  function line(card) {
    const kept = state.cards[card.dataset.item];
    return JSON.stringify({
      item: card.dataset.item,
      answer: card.dataset.answer,
      done: Object.fromEntries(steps(card).map((field) => [field.dataset.step, told[chosen(field).value]])),
      by: state.by.trim(),
      quality: kept.quality ? Number(kept.quality) : null,
      seconds: Math.round(kept.seconds * 10) / 10,
    });
  }

  function save() {
    const done = cards.filter(complete);
    if (!done.length) return tell("No answer is labelled whole yet: there is nothing to save.");
    const left = cards.length - done.length;
    tell(`Saved ${done.length}.` + (left ? ` ${left} are not labelled whole and are left out.` : ""));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([done.map((card) => line(card) + "\n").join("")], { type: "application/jsonl" }));
    link.download = "labels.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const keys = {
    y: () => answer("yes"), n: () => answer("no"), c: () => answer("open"),
    arrowup: () => move(-1), arrowdown: () => move(1),
    arrowleft: () => show(state.at - 1), arrowright: () => show(state.at + 1),
    u: firstOpen, s: save,
  };
  for (const value of "12345") keys[value] = () => rate(value);

  document.addEventListener("keydown", (event) => {
    if (event.target.type === "text" || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });
  document.addEventListener("change", (event) => {
    if (event.target.type !== "radio") return;
    if (event.target.closest(".step")) point(event.target.closest(".step"));
    note(current());
  });
  find("by").addEventListener("input", () => { state.by = find("by").value; keep(); });
  find("save").addEventListener("click", save);
  find("back").addEventListener("click", () => show(state.at - 1));
  find("next").addEventListener("click", () => show(state.at + 1));
  find("open").addEventListener("click", firstOpen);
  restore();
  count();
  show(state.at);
})();
