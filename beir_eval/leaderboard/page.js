"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SHOWN = 50;
  const POINTS = 400;

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const drawn = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const score = (value) => value.toFixed(4).replace(/^(-?)0\./, "$1.");
  const signed = (value) => (value > 0 ? "+" : "") + score(value).replace("-", "−");

  // Tables: a click, or the Enter key, on a header sorts by its column, the best first, then the other way; rows
  // without a value stay last.
  const sort = (table, place) => {
    const header = table.tHead.rows[0].cells[place];
    const now = header.getAttribute("aria-sort");
    const descending = now ? now !== "descending" : header.dataset.first !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const numbers = a - b;
      const order = Number.isNaN(numbers) ? a.localeCompare(b, undefined, {numeric: true}) : numbers;
      return descending ? -order : order;
    });
    table.tBodies[0].append(...rows);
  };
  const makeSortable = (table) => {
    [...table.tHead.rows[0].cells].forEach((header, place) => {
      header.querySelector("button").addEventListener("click", () => sort(table, place));
    });
  };
  document.querySelectorAll("table.sortable").forEach(makeSortable);

  // A table that is wider than the screen says so, until its end is seen.
  document.querySelectorAll(".scroll").forEach((place) => {
    const cue = place.previousElementSibling;
    const show = () => {
      const rest = place.scrollWidth - place.clientWidth - place.scrollLeft;
      cue.hidden = place.scrollWidth <= place.clientWidth + 1;
      cue.classList.toggle("seen", rest <= 1); // which keeps its line, so that nothing jumps
      place.classList.toggle("goes-on", rest > 1);
    };
    place.addEventListener("scroll", show, {passive: true});
    new ResizeObserver(show).observe(place);
    show();
  });

  // Pictures of which one set's are shown.
  document.querySelectorAll("select[data-shows]").forEach((select) => {
    const show = () => document.querySelectorAll(`figure.${select.dataset.shows}`).forEach((figure) => {
      figure.hidden = figure.dataset.set !== select.value;
    });
    select.addEventListener("change", show);
    show();
  });

  // Each query's difference between two systems.
  const against = document.getElementById("against");
  const compared = document.getElementById("compared");
  const differencesOf = (set, system, baseline) => {
    const [own, other] = [set.values[system], set.values[baseline]];
    return own && other ? own.map((value, i) => value - other[i]) : null;
  };
  const differencePicture = (set, differences, largest) => {
    const sorted = [...differences].sort((a, b) => b - a);
    const wins = sorted.filter((value) => value > 0).length;
    const losses = sorted.filter((value) => value < 0).length;
    const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
    const [width, height, left, top, bottom] = [400, 190, 40, 8, 168];
    const x = (i) => left + (i / sorted.length) * (width - left);
    const y = (value) => (top + bottom) / 2 - (value / largest) * (bottom - top) / 2;
    const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${set.name}: ${wins} ${wins === 1 ? "query" : "queries"} better, ${losses} worse, mean difference ${signed(mean)}`});
    for (const value of [largest, largest / 2, 0, -largest / 2, -largest]) {
      svg.append(drawn("line", {class: value ? "grid" : "axis", x1: left, x2: width, y1: y(value), y2: y(value)}));
      svg.append(drawn("text", {class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end"},
        value ? signed(value).replace(/0+$/, "").replace(/\.$/, "") : "0"));
    }
    const area = (from, to, kind) => {
      if (from >= to) return;
      const step = Math.max(1, Math.ceil(sorted.length / POINTS));
      let path = `M${x(from).toFixed(1)} ${y(0).toFixed(1)}`;
      for (let i = from; i < to; i += step) {
        path += `V${y(sorted[i]).toFixed(1)}H${x(Math.min(i + step, to)).toFixed(1)}`;
      }
      svg.append(drawn("path", {class: kind, d: `${path}V${y(0).toFixed(1)}Z`}));
    };
    area(0, wins, "gain");
    area(sorted.length - losses, sorted.length, "loss");
    svg.append(drawn("text", {x: left, y: height - 4}, `${wins} better`));
    svg.append(drawn("text", {class: "tick", x: (left + width) / 2, y: height - 4, "text-anchor": "middle"},
      `${sorted.length - wins - losses} equal`));
    svg.append(drawn("text", {x: width, y: height - 4, "text-anchor": "end"}, `${losses} worse`));
    const figure = element("figure");
    const caption = element("figcaption", set.name);
    caption.append(element("small", `mean difference ${signed(mean)}`));
    figure.append(caption, svg);
    return figure;
  };
  const drawDifferences = () => {
    const place = document.getElementById("differences");
    place.replaceChildren();
    const found = data.sets.map((set) => [set, differencesOf(set, Number(compared.value), Number(against.value))])
      .filter(([, differences]) => differences);
    const largest = found.reduce((most, [, values]) => values.reduce((a, b) => Math.max(a, Math.abs(b)), most), 0);
    const scale = [0.1, 0.2, 0.4, 0.6, 0.8, 1].find((each) => each >= largest - 1e-9) ?? Math.ceil(largest);
    for (const [set, differences] of found) place.append(differencePicture(set, differences, scale));
    if (!place.children.length) place.append(element("p", "No set has both.", {class: "note"}));
    document.querySelectorAll(".queries[data-filled]").forEach((made) => fill(made));
  };

  // The queries of a system on a set, made when they are looked at.
  const fill = (place, all = false) => {
    const set = data.sets[place.dataset.set];
    const system = Number(place.dataset.row);
    const baseline = against ? Number(against.value) : system;
    const differences = system === baseline ? null : differencesOf(set, system, baseline);
    const order = set.queries.map((_, i) => i);
    if (differences) order.sort((a, b) => Math.abs(differences[b]) - Math.abs(differences[a]));
    const shown = all ? order : order.slice(0, SHOWN);
    const table = element("table", undefined, {class: "sortable"});
    table.append(element("caption", `${data.measure} by query`));
    const head = table.createTHead().insertRow();
    const titles = ["Query", data.systems[system], ...(differences ? [data.systems[baseline], "Difference"] : [])];
    for (const title of titles) {
      const header = element("th", undefined, {scope: "col", "data-first": title === "Query" ? "ascending" : "descending"});
      header.append(element("button", title, {type: "button"}));
      head.append(header);
    }
    const body = table.createTBody();
    for (const i of shown) {
      const row = body.insertRow();
      const query = element("td", set.queries[i], {"data-value": set.queries[i]});
      if (set.texts[i]) query.append(element("small", set.texts[i]));
      row.append(query);
      row.append(element("td", score(set.values[system][i]), {"data-value": set.values[system][i]}));
      if (!differences) continue;
      row.append(element("td", score(set.values[baseline][i]), {"data-value": set.values[baseline][i]}));
      row.append(element("td", signed(differences[i]), {"data-value": differences[i]}));
    }
    makeSortable(table);
    place.replaceChildren(table);
    place.dataset.filled = "";
    if (shown.length < order.length) {
      const more = element("button", `Show all ${order.length} queries`, {type: "button", class: "more"});
      more.addEventListener("click", () => fill(place, true));
      place.append(more);
    }
  };
  document.querySelectorAll("details[id^=cell-]").forEach((details) => {
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".queries");
      if (details.open && place && !("filled" in place.dataset)) fill(place);
    });
  });
  if (against) {
    if (compared.value === against.value) compared.selectedIndex = 1; // the baseline is the first
    against.addEventListener("change", drawDifferences);
    compared.addEventListener("change", drawDifferences);
    drawDifferences();
  }

  // A number leads to what is behind it, which opens.
  const follow = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    if (target.tagName === "DETAILS") {
      target.open = true;
      target.querySelector("summary").focus({preventScroll: true});
    }
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  follow();
})();
