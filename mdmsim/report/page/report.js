// Where the reader is lives in the fragment: #/lock/pin[macos]?x=12&grade=failed&q=pin
const DATA = JSON.parse(await islandText(document.getElementById("data")));
const byId = new Map(DATA.cases.map((item) => [item.id, item]));
const article = document.getElementById("case"), overview = document.getElementById("overview");
const filterBox = document.getElementById("filter"), chips = [...document.querySelectorAll(".chip")];
let state = { id: null, x: null, e: null, grades: [], text: "" };

function parseHash() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const found = new URLSearchParams(query || "");
  const number = (name, base) => (/^\d+$/.test(found.get(name) || "") ? Number(found.get(name)) - base : null);
  let id = path;
  try { id = decodeURIComponent(path); } catch { /* a fragment typed by hand: taken as it is */ }
  return { id: id || null, x: number("x", 1), e: number("e", 0), grades: (found.get("grade") || "").split(",").filter(Boolean), text: found.get("q") || "" };
}
function hashOf(id, x = null, e = null, from = state) {
  const query = [];
  if (x !== null) query.push(`x=${x + 1}`);
  if (e !== null && e !== undefined) query.push(`e=${e}`);
  if (from.grades.length) query.push(`grade=${from.grades.join(",")}`);
  if (from.text) query.push(`q=${encodeURIComponent(from.text)}`);
  const path = encodeURIComponent(id || "").replace(/%2F/g, "/").replace(/%5B/g, "[").replace(/%5D/g, "]");
  return `#/${path}${query.length ? `?${query.join("&")}` : ""}`;
}

// Large data is compressed: base64 of zlib.
async function islandText(island) {
  if (!("packed" in island.dataset)) return island.textContent;
  const bytes = Uint8Array.from(atob(island.textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

// The filter -------------------------------------------------------------------------------------------------------
const haystacks = new Map(DATA.cases.map((item) => [item.id,
  [item.id, item.title, item.story, item.platform, words(item.grade), item.expected, item.observed, item.requirement, ...Object.entries(item.devices || {}).flat(), ...(item.lanes || []).map((lane) => lane.label)].join(" ").toLowerCase()]));
function matches(item) {
  const asked = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  return (!state.grades.length || state.grades.includes(item.grade)) && asked.every((word) => haystacks.get(item.id).includes(word));
}
const visible = () => DATA.cases.filter(matches);
function applyFilter() {
  const shown = new Set(visible().map((item) => item.id));
  for (const node of document.querySelectorAll("nav [data-case]")) node.parentElement.hidden = !shown.has(node.dataset.case);
  for (const node of document.querySelectorAll("nav .story")) node.hidden = !node.querySelector("li:not([hidden])");
  for (const node of document.querySelectorAll("#overview .bad")) node.hidden = !shown.has(node.dataset.case);
  for (const node of document.querySelectorAll("#overview .cell")) node.classList.toggle("out", !shown.has(node.dataset.case));
  for (const node of document.querySelectorAll("#overview tbody tr")) node.hidden = ![...node.querySelectorAll(".cell")].some((cell) => shown.has(cell.dataset.case));
  for (const node of document.querySelectorAll("#overview .matrix")) node.hidden = !node.querySelector("tbody tr:not([hidden])");
  for (const node of document.querySelectorAll("#overview .bad-cases")) node.hidden = !node.querySelector(".bad:not([hidden])");
  for (const chip of chips) chip.setAttribute("aria-pressed", String(state.grades.includes(chip.dataset.grade)));
  if (filterBox.value !== state.text) filterBox.value = state.text;
  const filtered = state.grades.length || state.text;
  document.querySelector(".nothing").hidden = shown.size > 0;
  document.getElementById("filter-result").textContent = filtered ? `${shown.size} of ${DATA.cases.length} cases` : "";
  for (const link of document.querySelectorAll("nav a[data-case], #overview a[data-case]")) link.href = hashOf(link.dataset.case);
  for (const link of document.querySelectorAll(".overview-link, .brand a")) link.href = hashOf(null);
}
function go(hash, { keep = false } = {}) {
  if (keep) { history.replaceState(null, "", hash); follow(); } else location.hash = hash;
}

// One case ---------------------------------------------------------------------------------------------------------
function difference(expected, observed) {
  // The same beginning and the same end stay plain; what lies between is what differs.
  const a = expected.split(/(\s+)/), b = observed.split(/(\s+)/);
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  if (start + end < 3) return [expected, observed];
  const mark = (parts) => {
    const middle = parts.slice(start, parts.length - end).join("");
    return [parts.slice(0, start).join(""), middle ? el("mark", {}, middle) : "", parts.slice(parts.length - end).join("")];
  };
  return [mark(a), mark(b)];
}
function caseView(item) {
  const meta = [words(item.grade), item.level, item.platformName, item.source, item.took].filter(Boolean).join(" · ");
  const rows = [], add = (name, ...value) => rows.push(el("dt", {}, name), el("dd", {}, ...value));
  const [expected, observed] = item.expected && item.observed && item.grade !== "passed"
    ? difference(item.expected, item.observed) : [item.expected, item.observed];
  if (item.requirement) add("requirement", item.requirement);
  if (item.expected) add("expected", expected);
  if (item.observed) add("seen", observed);
  if ((item.not_simulated || []).length) add("not simulated", item.not_simulated.join(", "));
  if (item.where) add("where", el("code", {}, item.where));
  if (item.proof !== undefined && !fine(item.grade)) {
    const proof = item.exchanges[item.proof];
    add("exchange", el("a", { href: hashOf(item.id, item.proof) }, el("code", {}, `${proof.label} → ${proof.status === undefined ? proof.error_class || "no answer" : proof.status}`)), ` (${item.proof + 1} of ${item.exchanges.length})`);
  }
  if (item.devices) add("devices", el("ul", { class: "devices" }, Object.entries(item.devices).map(([name, about]) => el("li", {}, el("b", {}, name), ` ${about}`))));
  if (item.replay) add("replay", el("code", { class: "copy" }, item.replay));
  const steps = (item.steps || []).map((step) => el("li", {},
    graded(step.grade, el("span", { class: "sr" }, words(step.grade), ": "), " ", step.title),
    !fine(step.grade) && (step.expected !== item.expected || step.observed !== item.observed)
      ? el("dl", { class: "facts-list" }, [["expected", step.expected], ["seen", step.observed], ["where", step.where]].filter((pair) => pair[1]).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))
      : ""));
  const around = visible(), place = around.indexOf(item);
  const turn = (other, label, sign) => other ? el("a", { class: "turn", href: hashOf(other.id), "aria-label": `${label}: ${other.id}`, title: other.id }, sign) : el("span", { class: "turn off", "aria-hidden": "true" }, sign);
  return [
    el("div", { class: "case-bar" }, el("a", { href: hashOf(null) }, "Overview"), el("span", { class: "soft" }, " / "), el("a", { class: "permalink mono", href: hashOf(item.id), title: "Permalink of this case" }, item.id),
      el("span", { class: "turns" }, turn(around[place - 1], "Previous case", "↑"), turn(around[place + 1], "Next case", "↓"))),
    el("h2", { class: `case-title ${item.grade}`, id: "case-title", tabindex: "-1" }, el("span", { class: "mark", "aria-hidden": "true" }, MARKS[item.grade]), " ", item.title),
    el("p", { class: "meta" }, meta),
    rows.length ? el("dl", { class: `verdict-block ${item.grade}` }, rows) : "",
    steps.length ? el("details", { class: "steps", open: !fine(item.grade) }, el("summary", {}, count(steps.length, "step")), el("ol", {}, steps)) : "",
    el("h3", { class: "diagram-title" }, "What happened", el("span", { class: "soft" }, item.exchanges && item.exchanges.length ? ` ${count(item.exchanges.length, "exchange")}; each arrow opens what it carried` : "")),
    el("div", { class: "diagram" }),
  ];
}
const names = { ios: "iOS", ipados: "iPadOS", macos: "macOS", tvos: "tvOS", visionos: "visionOS", watchos: "watchOS" };
for (const item of DATA.cases) item.platformName = names[item.platform] || item.platform;

let drawnFor = null;
function drawAgain() {
  const item = byId.get(state.id), place = article.querySelector(".diagram");
  if (!item || !place) return;
  drawDiagram(place, item, Math.floor(place.clientWidth), state.x);
}

// Scrolls a box, and nothing around it, so far that a node in it can be seen.
function reveal(box, node) {
  const outer = box.getBoundingClientRect(), inner = node.getBoundingClientRect();
  if (inner.top < outer.top) box.scrollTop -= outer.top - inner.top + 60;
  else if (inner.bottom > Math.min(outer.bottom, innerHeight)) box.scrollTop += inner.bottom - Math.min(outer.bottom, innerHeight) + 60;
}

// Going places -----------------------------------------------------------------------------------------------------
function follow() {
  const before = state;
  state = parseHash();
  applyFilter();
  const item = byId.get(state.id);
  article.hidden = !item;
  overview.hidden = Boolean(item);
  document.body.classList.toggle("in-case", Boolean(item));
  for (const link of document.querySelectorAll("nav a[data-case]")) {
    if (link.dataset.case === state.id) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.querySelector(".overview-link").toggleAttribute("aria-current", !item);
  if (!item) {
    showPanel({}, { x: null, e: null });
    article.replaceChildren();
    drawnFor = null;
    if (state.id) document.getElementById("filter-result").textContent = `No case is called ${state.id}`;
    return;
  }
  const filterMoved = before.text !== state.text || before.grades.join() !== state.grades.join();
  const fresh = drawnFor !== item.id;
  if (fresh || filterMoved) {
    article.replaceChildren(...caseView(item));
    article.querySelectorAll("code.copy").forEach(copyable);
    drawnFor = item.id;
    const current = document.querySelector("nav a[aria-current=page]");
    if (fresh && current) reveal(document.querySelector("nav.list"), current);
  }
  showPanel(item, state);
  drawAgain();
  // Another case begins at its beginning; the list keeps its place.
  if (fresh && before.id !== null) scrollTo(0, Math.min(scrollY, Math.max(0, document.querySelector(".columns").getBoundingClientRect().top + scrollY)));
  const opened = state.x !== null || state.e !== null, was = before.x !== null || before.e !== null;
  if (opened && (before.x !== state.x || before.e !== state.e || fresh)) {
    article.querySelector(`[data-x="${state.x}"], [data-e="${state.e}"]`)?.scrollIntoView({ block: "nearest" });
    panel.focus({ preventScroll: true });
  } else if (!opened && was && before.id === state.id) {
    (article.querySelector(`[data-x="${before.x}"]`) || article.querySelector(`[data-e="${before.e}"]`))?.focus({ preventScroll: true });
  } else if (fresh && before.id !== null) {
    document.getElementById("case-title").focus({ preventScroll: true });
  }
}

addEventListener("hashchange", follow);
addEventListener("resize", drawAgain);
filterBox.addEventListener("input", () => go(hashOf(state.id, state.x, state.e, { ...state, text: filterBox.value }), { keep: true }));
for (const chip of chips) {
  chip.addEventListener("click", () => {
    const grade = chip.dataset.grade;
    const grades = state.grades.includes(grade) ? state.grades.filter((other) => other !== grade) : [...state.grades, grade];
    go(hashOf(state.id, state.x, state.e, { ...state, grades }), { keep: true });
  });
}
document.querySelector(".clear").addEventListener("click", () => go(hashOf(state.id, state.x, state.e, { grades: [], text: "" }), { keep: true }));
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("main").focus(); });

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape") {
    if (typing) { event.target.blur(); return; }
    if (state.x !== null || state.e !== null) go(hashOf(state.id)); else if (state.id) go(hashOf(null));
    return;
  }
  if (typing) return;
  const cases = visible(), place = cases.findIndex((item) => item.id === state.id), item = byId.get(state.id);
  const exchanges = item && item.exchanges ? item.exchanges.length : 0;
  if (event.key === "/") { event.preventDefault(); filterBox.focus(); filterBox.select(); }
  else if (event.key === "j" && place + 1 < cases.length) go(hashOf(cases[place + 1].id));
  else if (event.key === "k" && place > 0) go(hashOf(cases[place - 1].id));
  else if (event.key === "]" && exchanges) go(hashOf(state.id, Math.min(exchanges - 1, state.x === null ? 0 : state.x + 1)));
  else if (event.key === "[" && exchanges && state.x !== null) go(hashOf(state.id, Math.max(0, state.x - 1)));
});

document.querySelectorAll(".top code.copy, #overview code.copy").forEach(copyable);
document.body.classList.add("alive");
follow();
