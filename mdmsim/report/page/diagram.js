// The sequence diagram of a case. Python decides what is in it (mdmsim/report/diagram.py); this places and draws it.
const ROW = { exchange: 50, push: 32, note: 32, step: 38, seen: 32, gap: 40 };
const TIME = 70, LETTER = 6.95;

function drawDiagram(place, item, width, chosen) {
  const lanes = item.lanes || [], rows = item.rows || [];
  if (!lanes.length) return void place.replaceChildren(el("p", { class: "soft" }, "Nothing went over the wire."));
  const narrow = width < 520, time = narrow ? 52 : TIME;
  const needed = time + lanes.length * (narrow ? 68 : 92);
  const full = Math.max(width, needed);
  const step = Math.min((full - time) / lanes.length, 300);
  const used = time + step * lanes.length;
  const at = (lane) => Math.round(time + step * (lane + 0.5)) + 0.5;
  const height = rows.reduce((sum, row) => sum + ROW[row.k], 0) + 20;

  const head = svg("svg", { class: narrow ? "lanes narrow" : "lanes", width: used, height: 34, viewBox: `0 0 ${used} 34`, "aria-hidden": "true" },
    lanes.map((lane, index) => {
      const wide = step - (narrow ? 4 : 10);
      return svg("g", { class: `lane ${lane.kind}` },
        svg("rect", { x: at(index) - wide / 2, y: 3, width: wide, height: 26, rx: 5 }),
        svg("text", { x: at(index), y: 20, "text-anchor": "middle" }, clip(lane.label, narrow ? wide * 1.08 : wide - 10)));
    }));

  const lines = [], marks = [];
  let y = 6, from = 0;
  const life = (until, dashed) => lanes.forEach((_, index) => lines.push(
    svg("line", { class: dashed ? "life quiet" : "life", x1: at(index), x2: at(index), y1: from, y2: until })));
  for (const row of rows) {
    if (row.k === "gap") {
      life(y + 8); from = y + 8; life(y + ROW.gap - 8, true); from = y + ROW.gap - 8;
      const wide = row.label.length * LETTER + 20;
      marks.push(svg("g", { class: "gap" },
        svg("rect", { x: (time + used - wide) / 2, y: y + 9, width: wide, height: 22, rx: 11 }),
        svg("text", { x: (time + used) / 2, y: y + 24, "text-anchor": "middle" }, row.label)));
    } else marks.push(DRAW[row.k](row, y, { item, lanes, at, used, time, step, chosen }));
    y += ROW[row.k];
  }
  life(height);
  const body = svg("svg", { class: "rows", width: used, height, viewBox: `0 0 ${used} ${height}`, role: "group",
    "aria-label": `Sequence of ${count((item.exchanges || []).length, "exchange")} between ${lanes.map((lane) => lane.label).join(", ")}` },
  svg("g", { "aria-hidden": "true" }, lines), marks);
  place.classList.toggle("wide", needed > width);
  place.replaceChildren(head, body);
}

const clip = (text, wide) => {
  const most = Math.max(3, Math.floor(wide / LETTER));
  return text.length <= most ? text : text.slice(0, most - 1) + "…";
};
const moment = (row, y) => svg("text", { class: "time", x: 7, y }, row.t);
function arrow(x1, x2, y, kind) {
  const way = x2 > x1 ? 1 : -1, tip = x2 - way;
  return [
    svg("line", { class: `wire ${kind}`, x1, x2: tip - way * 6, y1: y, y2: y }),
    svg("path", { class: `tip ${kind}`, d: `M${tip} ${y}l${-way * 8} -4v8z` }),
  ];
}

const DRAW = {
  exchange(row, y, c) {
    const x1 = c.at(row.a), x2 = c.at(row.b), left = Math.min(x1, x2), far = row.status === undefined;
    const exchange = c.item.exchanges[row.x], bad = row.tone === "bad";
    const came = far ? row.back : [row.status, row.back].filter(Boolean).join(" · ");
    const said = `${row.t}: ${c.lanes[row.a].label} to ${c.lanes[row.b].label}, ${row.label}, ${far ? came : `answered ${came}`}`;
    const link = svg("a", { class: `row exchange ${bad ? "bad" : ""} ${c.chosen === row.x ? "chosen" : ""}`, href: hashOf(c.item.id, row.x),
      "data-x": row.x, "aria-label": said, "aria-current": c.chosen === row.x ? "true" : null },
    svg("rect", { class: "hit", x: 0, y: y + 1, width: c.used, height: ROW.exchange - 2, rx: 4 }),
    moment(row, y + 19),
    svg("text", { class: "label", x: left + 9, y: y + 14 }, clip(row.label, c.used - left - 12)),
    arrow(x1, x2, y + 20, "ask"));
    if (far) {
      const mid = (x1 + x2) / 2;
      link.append(svg("path", { class: "cut", d: `M${mid - 5} ${y + 33}l10 10m0 -10l-10 10` }),
        svg("text", { class: "answer", x: mid + 12, y: y + 42 }, clip(came, c.used - mid - 14)));
    } else {
      link.append(svg("text", { class: "answer", x: left + 9, y: y + 35 }, clip((bad ? "✗ " : "") + came, c.used - left - 12)),
        ...arrow(x2, x1, y + 41, "reply"));
    }
    if (exchange && c.item.proof === row.x && !fine(c.item.grade)) {
      link.append(svg("rect", { class: "proof", x: 0, y: y + 3, width: 3, height: ROW.exchange - 6, rx: 1.5 }));
    }
    return link;
  },
  push(row, y, c) {
    const x1 = c.at(row.a), x2 = c.at(row.b), left = Math.min(x1, x2);
    return svg("a", { class: `row push ${row.tone || ""}`, href: hashOf(c.item.id, null, row.e), "data-e": row.e,
      "aria-label": `${row.t}: ${c.lanes[row.a].label} to ${c.lanes[row.b].label}, ${row.label}` },
    svg("rect", { class: "hit", x: 0, y: y + 1, width: c.used, height: ROW.push - 2, rx: 4 }),
    moment(row, y + 22),
    svg("text", { class: "label", x: left + 9, y: y + 16 }, clip((row.tone === "bad" ? "✗ " : "") + row.label, c.used - left - 12)),
    arrow(x1, x2, y + 22, "push"));
  },
  note(row, y, c) {
    const most = c.used - c.time, label = clip(row.label, most - 20), wide = label.length * LETTER + 18;
    const x = Math.max(c.time, Math.min(c.at(row.l) - wide / 2, c.used - wide - 1));
    return svg("a", { class: `row note ${row.tone || ""}`, href: hashOf(c.item.id, null, row.e), "data-e": row.e,
      "aria-label": `${row.t}: ${c.lanes[row.l].label}: ${row.label}` },
    svg("rect", { class: "hit", x: 0, y: y + 1, width: c.used, height: ROW.note - 2, rx: 4 }),
    moment(row, y + 20),
    svg("rect", { class: "pill", x: Math.round(x) + 0.5, y: y + 4.5, width: Math.round(wide), height: 23, rx: 4 }),
    svg("text", { class: "label", x: x + wide / 2, y: y + 20, "text-anchor": "middle" }, label));
  },
  seen(row, y, c) {
    return svg("g", { class: "seen" },
      svg("title", {}, `Seen instead: ${row.label}`),
      svg("rect", { x: 0, y: y + 4, width: c.used, height: 25, rx: 4 }),
      svg("text", { class: "shape", x: 8, y: y + 21 }, MARKS.failed),
      svg("text", { x: 26, y: y + 21 }, clip(row.label, (c.used - 30) * 1.02)));
  },
  step(row, y, c) {
    return svg("g", { class: `step ${row.grade}` },
      svg("title", {}, `Step: ${row.label}, ${words(row.grade)}`),
      svg("rect", { x: 0, y: y + 7, width: c.used, height: 25, rx: 4 }),
      svg("text", { class: "shape", x: 8, y: y + 24 }, MARKS[row.grade]),
      svg("text", { class: "name", x: 26, y: y + 24 }, clip(row.label, (c.used - 30) * 1.02)));
  },
};
