// A decoded body as a tree. The marks that begin with $ are described in docs/report.md.
function treeOf(value, open = 2) {
  if (value === null) return el("span", { class: "v" }, "null");
  if (typeof value === "string") return el("span", { class: "v text" }, value === "" ? el("i", {}, "empty") : value);
  if (typeof value !== "object") return el("span", { class: "v number" }, String(value));
  if (Array.isArray(value)) return branch(value.map((item, place) => [place, item]), "item", open);
  if ("$hidden" in value) return hiddenValue(value);
  if ("$real" in value) return el("span", { class: "v number" }, value.$real);
  if ("$date" in value) return el("span", { class: "v number" }, value.$date);
  if ("$data" in value) return dataValue(value, open);
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === "$cut") return el("i", { class: "cut" }, value.$cut);
  return branch(Object.entries(value), "key", open);
}

function hiddenValue(value) {
  const unit = value.$hidden === 1 ? value.unit.replace(/s$/, "") : value.unit;
  return el("span", { class: "v secret", title: "A secret: only its length is shown" }, `•••• ${value.$hidden} ${unit}`);
}

function dataValue(value, open) {
  const size = count(value.$data, "byte");
  if (!value.about) {
    return el("span", { class: "v data" }, el("span", { class: "kind" }, `data, ${size}`), " ", value.base64 || "");
  }
  const parts = [el("span", { class: "v data" }, el("span", { class: "kind" }, `data, ${size}: `), value.about)];
  if (value.facts) parts.push(el("details", { class: "more" }, el("summary", {}, "details"), factsOf(value.facts)));
  if ("value" in value) parts.push(treeOf(value.value, open - 1));
  return parts;
}

function branch(entries, one, open) {
  if (!entries.length) return el("span", { class: "v" }, el("i", {}, one === "key" ? "empty dictionary" : "empty array"));
  const rows = entries.map(([key, item]) => {
    if (key === "$cut") return el("li", {}, el("i", { class: "cut" }, item));
    const name = typeof key === "number" ? String(key) : key.startsWith("\\$") ? key.slice(1) : key;
    return el("li", {}, el("span", { class: typeof key === "number" ? "k place" : "k" }, name), " ", treeOf(item, open - 1));
  });
  return el("details", { class: "branch", open: open > 0 && entries.length <= 40 },
    el("summary", {}, count(entries.length, one)), el("ul", {}, rows));
}

const factsOf = (facts) => el("dl", { class: "facts-list" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

// One message of an exchange: what it is, its tree, its headers, and the text as it went over the wire.
function messageOf(title, headers, body) {
  const about = body ? `${body.about}, ${count(body.bytes, "byte")}` : "no body";
  const parts = [el("h3", {}, title), el("p", { class: "about" }, about)];
  if (body) {
    if (body.facts && body.facts.length) parts.push(factsOf(body.facts));
    if ("tree" in body) parts.push(el("div", { class: "tree" }, treeOf(body.tree, 3)));
    if (body.note) parts.push(el("p", { class: "soft" }, body.note));
    if (body.raw !== undefined) {
      const text = (body.prolog ? DATA.prolog : "") + body.raw;
      const lines = el("pre", { tabindex: "0" }, text);
      parts.push("tree" in body ? el("details", { class: "raw" }, el("summary", {}, "As sent"), lines) : lines);
    }
  }
  if (headers) {
    parts.push(el("details", { class: "headers" }, el("summary", {}, count(headers.length, "header")),
      factsOf(headers)));
  }
  return el("section", { class: "message" }, parts);
}
