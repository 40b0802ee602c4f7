"use strict";
// The map: its points, what is under the pointer, the search. Texts are set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const map = document.getElementById("map");
if (map && data.points) {
  const wide = 1000, high = 600, rim = 24;
  const said = document.getElementById("said");
  const search = document.getElementById("search");
  const count = document.getElementById("count");
  const list = document.getElementById("found");
  const buttons = [...document.querySelectorAll("#groups button")];
  const listed = 20;
  const sections = [...document.querySelectorAll("#record-groups details")];
  let group = null, opened = null, current = null;

  const circles = data.points.map((point) => {
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    circle.setAttribute("cx", (rim + point.x * (wide - 2 * rim)).toFixed(1));
    circle.setAttribute("cy", (rim + (1 - point.y) * (high - 2 * rim)).toFixed(1));
    circle.setAttribute("r", data.points.length > 1200 ? "4" : "6");
    circle.setAttribute("class", "k" + point.g);
    const show = () => choose(circle, point);
    circle.addEventListener("pointerenter", show);
    circle.addEventListener("click", () => {
      show();
      const details = sections.find((one) => one.dataset.group === point.r);
      if (details) details.open = true;
    });
    map.append(circle);
    return circle;
  });

  function choose(circle, point) {
    if (current) current.classList.remove("on");
    current = circle;
    circle.classList.add("on");
    const name = point.l === undefined ? data.groups[point.g] : point.l;
    said.textContent = point.t === undefined ? name : name + ": " + point.t;
  }

  function filter() {
    const words = search ? search.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    const hits = [];
    data.points.forEach((point, i) => {
      const text = ((point.t || "") + " " + (point.l || "")).toLowerCase();
      const hit = (group === null || point.g === group) && (opened === null || point.r === opened)
        && words.every((word) => text.includes(word));
      circles[i].classList.toggle("off", !hit);
      if (hit) hits.push(i);
    });
    count.textContent = hits.length.toLocaleString("en") + " of " + data.points.length.toLocaleString("en");
    if (!list) return;
    list.replaceChildren();
    if (!words.length) return;
    for (const i of hits.slice(0, listed)) {
      const item = document.createElement("li");
      item.textContent = data.points[i].t;
      list.append(item);
    }
    if (hits.length > listed) {
      const item = document.createElement("li");
      item.textContent = "and " + (hits.length - listed).toLocaleString("en") + " more";
      list.append(item);
    }
  }

  buttons.forEach((button, i) => button.addEventListener("click", () => {
    group = group === i ? null : i;
    buttons.forEach((other, k) => other.setAttribute("aria-pressed", String(group === k)));
    filter();
  }));
  if (data.points.some((point) => point.r)) {
    sections.forEach((details) => details.addEventListener("toggle", () => {
      const id = details.dataset.group;
      if (details.open) {
        opened = id;
        sections.forEach((other) => { if (other !== details) other.open = false; });
      } else if (opened === id) {
        opened = null;
      }
      filter();
    }));
  }
  if (search) search.addEventListener("input", filter);
  filter();
}
