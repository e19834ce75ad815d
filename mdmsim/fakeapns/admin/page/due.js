// Due but missing: a list goes in, what became of each comes out, what was never pushed first.
const DUE_COLUMNS = [["verdict", "verdict"], ["for", "device"], ["due since", "when"], ["what became of it", "became"], ["late", "number"]];
const VERDICTS = { "never-pushed": ["✗", "failed", "never pushed"], refused: ["✗", "failed", "refused"], "not-delivered": ["!", "tolerated", "not delivered"], "not-acted": ["!", "tolerated", "not acted upon"], unknown: ["?", "plain", "unknown"], acted: ["✓", "passed", "acted upon"] };
// Long lists are judged when somebody asks, short ones whenever something changes.
const AGAIN = 500, SHOWN = 2000, DUE_SIZE = 200;
// A file longer than this is judged, and not shown in the box: laying it out takes longer than anybody waits.
const BOX = 200_000;
const LIST_TYPES = { json: "application/json", csv: "text/csv", yaml: "application/yaml", yml: "application/yaml" };
// `due`: the list that is looked at: its text or file as `data`, what stands in the box for it, its file's name.
let due = null, judged = null, judgedFor = "";

const dueView = {
  name: "Due", form: dueForm, formFirst: true, every: 2000,
  async load(signal) {
    if (due && (!judged || judgedFor !== state.only || judged.answers.length <= AGAIN)) await judge(due, signal);
    return judged;
  },
  nowOf: (data) => (data ? data.at_ms : Date.now()),
  render(report, now) {
    if (!report) return [];
    const found = report.answers, offset = offsetNow() < found.length ? offsetNow() : 0, page = found.slice(offset, offset + DUE_SIZE);
    const all = Object.values(report.counts).reduce((a, b) => a + b, 0), here = state.only ? report.counts[state.only] || 0 : all;
    said(`${all} due, ${report.counts["never-pushed"]} never pushed`);
    return [
      el("h2", {}, `${number(all)} due at ${clock(report.at_ms)}`),
      chips("Show", "only", state.only, [["", `all ${number(all)}`], ...Object.entries(VERDICTS).filter(([name]) => report.counts[name]).map(([name, [sign, , words]]) => [name, `${sign} ${words} ${number(report.counts[name])}`])]),
      pages(offset, page.length, found.length, offset + DUE_SIZE < found.length ? offset + DUE_SIZE : null, DUE_SIZE),
      table("What is due", DUE_COLUMNS, page.map((one) => {
        const [sign, kind, words] = VERDICTS[one.verdict], last = one.acted || one.delivered || one.accepted || one.first;
        const steps = [[one.complete ? "first push" : "first push remembered", one.first], ["accepted", one.accepted], ["delivered", one.delivered], ["acted upon", one.acted]].filter(([, step]) => step);
        return row(`e${one.entry}`, DUE_COLUMNS, [
          marked(kind, sign, words), [el("b", {}, one.device || short(one.name, 20, 8)), one.device && one.device !== one.name ? el("span", { class: "soft" }, ` ${short(one.name, 18, 6)}`) : "", one.what ? el("span", { class: "why soft" }, ` ${one.what}`) : ""], moment(one.since_ms, now),
          [one.why, steps.length ? el("span", { class: "soft why" }, ` ${steps.map(([name, step]) => `${name} ${clock(step.at_ms)}`).join(", ")}${one.refused ? `; ${one.refused} of ${one.pushes} refused` : ""}`) : "", last && !one.complete ? el("span", { class: "why soft forgetful" }, steps.length ? "; " : " ", "not everything since then is remembered") : "", one.first && one.first.number ? [" ", el("a", { href: hashOf({ view: "requests", q: one.tokens[0] }) }, "requests")] : ""], last ? `${one.complete ? "" : "≤ "}${span(last.late_ms)}` : "–"]);
      })),
      here > found.length ? nothing(`and ${number(here - found.length)} more: ask for one verdict, or use mdmsim apns due`) : "",
    ];
  },
};

function dueForm() {
  return el("form", { class: "box", "data-submit": "due", "data-drop": "due" }, el("h1", {}, "Due but missing"),
    el("p", { class: "soft" }, "Paste a due-list, or drop a file: JSON, CSV or YAML, with since and one of device, udid, serial, token (and topic) for each entry."),
    el("p", { class: "field" }, el("label", { for: "due-list" }, "Due-list"), el("textarea", { id: "due-list", name: "list", rows: 6, spellcheck: "false", placeholder: due && !due.shown && due.name ? tooLong(due) : EXAMPLE }, due ? due.shown : "")),
    el("p", { class: "act" }, el("button", {}, "judge"), " ", el("label", { class: "button" }, "open a file", el("input", { type: "file", class: "sr", "data-act": "due-file", accept: ".json,.csv,.yaml,.yml,.txt" })), " ", el("span", { class: "says", role: "status" })));
}
const EXAMPLE = "udid,since\n00008110-000A1B2C3D4E801E,2026-01-31T12:00:00Z";
const tooLong = (list) => `${list.name} is too long to be shown here. Paste another list, or judge it again.`;
async function judge(list, signal) {
  const only = state.only, told = await call("POST", "/due", { query: { verdict: only, limit: SHOWN }, body: list.data, type: list.type, signal });
  if (due === list || asked === list) { due = list; judged = told; judgedFor = only; }
  return told;
}
// `asked`: the list that is being judged for the first time. What was found of the one before does not stand under it.
let asked = null, file = null;
async function take(list) {
  due = judged = null;
  asked = list;
  wake();
  if (!list) return "nothing is due";
  fits(list.name, new Blob([list.data]).size);
  try {
    const told = await judge(list);
    return `${number(Object.values(told.counts).reduce((a, b) => a + b, 0))} judged`;
  } catch (error) {
    if (error instanceof Refusal && list.name) error.message = error.message.replace(/^due-list/, () => list.name);
    throw error;
  }
}
function fits(name, size) {
  if (size > MAX_BODY) throw new Error(`${name || "due-list"}: ${number(Math.ceil(size / 2 ** 20))} MiB. It can have ${number(MAX_BODY / 2 ** 20)}: split it.`);
}
function judgeDue(form) {
  const text = form.elements.list.value;
  // A file whose text was not touched is judged as the file that it is.
  if (file && file.shown === text) return take(file);
  file = null;
  form.elements.list.placeholder = EXAMPLE;
  return take(text.trim() ? { data: text, type: "text/plain", shown: text, name: "" } : null);
}
async function takeFile(form, chosen) {
  const box = form.elements.list, { name, size } = chosen;
  box.value = "";
  box.placeholder = EXAMPLE;
  due = judged = asked = file = null;
  wake();
  fits(name, size);
  const data = await chosen.arrayBuffer();
  // Opened again after it was changed, it is to be read again.
  form.querySelector("[type=file]").value = "";
  const list = { data, type: LIST_TYPES[name.split(".").pop().toLowerCase()] || "text/plain", shown: "", name };
  if (size > BOX) box.placeholder = tooLong(list);
  else try { box.value = new TextDecoder("utf-8", { fatal: true }).decode(data); } catch { /* The API says what it is. */ }
  list.shown = box.value;
  file = list;
  return take(list);
}
