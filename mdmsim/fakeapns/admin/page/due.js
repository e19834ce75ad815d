// Due but missing: a list goes in, what became of each comes out, what was never pushed first.
const DUE_COLUMNS = [["verdict", "verdict"], ["for", "device"], ["due since", "when"], ["what became of it", "became"], ["late", "number"]];
const VERDICTS = { "never-pushed": ["✗", "failed", "never pushed"], refused: ["✗", "failed", "refused"], "not-delivered": ["!", "tolerated", "not delivered"], "not-acted": ["!", "tolerated", "not acted upon"], unknown: ["?", "plain", "unknown"], acted: ["✓", "passed", "acted upon"] };
// Long lists are judged when somebody asks, short ones whenever something changes.
const AGAIN = 500, SHOWN = 2000, DUE_SIZE = 200;
let dueText = "", judged = null, judgedFor = "";

const dueView = {
  name: "Due", form: dueForm, formFirst: true, every: 2000,
  async load(signal) {
    if (dueText && (!judged || judgedFor !== state.only || judged.answers.length <= AGAIN)) judged = await judge(signal);
    return judged;
  },
  nowOf: (data) => (data ? data.at_ms : Date.now()),
  render(report, now) {
    if (!report) return [];
    const found = report.answers, offset = offsetNow(), page = found.slice(offset, offset + DUE_SIZE);
    const all = Object.values(report.counts).reduce((a, b) => a + b, 0), here = state.only ? report.counts[state.only] || 0 : all;
    said(`${all} due, ${report.counts["never-pushed"]} never pushed`);
    return [
      el("h2", {}, `${number(all)} due at ${clock(report.at_ms)}`),
      chips("Show", "only", state.only, [["", `all ${number(all)}`], ...Object.entries(VERDICTS).filter(([name]) => report.counts[name]).map(([name, [sign, , words]]) => [name, `${sign} ${words} ${number(report.counts[name])}`])]),
      pages(offset, page.length, found.length, offset + DUE_SIZE < found.length ? offset + DUE_SIZE : null, DUE_SIZE),
      table("What is due", DUE_COLUMNS, page.map((one) => {
        const [sign, kind, words] = VERDICTS[one.verdict], last = one.acted || one.delivered || one.accepted || one.first;
        const steps = [["first push", one.first], ["accepted", one.accepted], ["delivered", one.delivered], ["acted upon", one.acted]].filter(([, step]) => step);
        return row(`e${one.entry}`, DUE_COLUMNS, [
          marked(kind, sign, words), [el("b", {}, one.device || short(one.name, 20, 8)), one.device && one.device !== one.name ? el("span", { class: "soft" }, ` ${short(one.name, 18, 6)}`) : "", one.what ? el("span", { class: "why soft" }, ` ${one.what}`) : ""], moment(one.since_ms, now),
          [one.why, steps.length ? el("span", { class: "soft why" }, ` ${steps.map(([name, step]) => `${name} ${clock(step.at_ms)}`).join(", ")}${one.refused ? `; ${one.refused} of ${one.pushes} refused` : ""}`) : "", one.first && one.first.number ? [" ", el("a", { href: hashOf({ view: "requests", q: one.tokens[0] }) }, "requests")] : ""], last ? span(last.late_ms) : "–"]);
      })),
      here > found.length ? nothing(`and ${number(here - found.length)} more: ask for one verdict, or use mdmsim apns due`) : "",
    ];
  },
};

function dueForm() {
  return el("form", { class: "box", "data-submit": "due", "data-drop": "due" }, el("h1", {}, "Due but missing"),
    el("p", { class: "soft" }, "Paste a due-list, or drop a file: JSON, CSV or YAML, with since and one of device, udid, serial, token (and topic) for each entry."),
    el("p", { class: "field" }, el("label", { for: "due-list" }, "Due-list"), el("textarea", { id: "due-list", name: "list", rows: 6, spellcheck: "false", placeholder: "udid,since\n00008110-000A1B2C3D4E801E,2026-01-31T12:00:00Z" })),
    el("p", { class: "act" }, el("button", {}, "judge"), " ", el("label", { class: "button" }, "open a file", el("input", { type: "file", class: "sr", "data-act": "due-file", accept: ".json,.csv,.yaml,.yml,.txt" })), " ", el("span", { class: "says", role: "status" })));
}
async function judge(signal) {
  const only = state.only, told = await call("POST", "/due", { query: { verdict: only, limit: SHOWN }, body: dueText, type: "text/plain", signal });
  judgedFor = only;
  return told;
}
async function judgeDue(form) {
  dueText = form.elements.list.value;
  judged = null;
  if (!dueText.trim()) return "nothing is due";
  judged = await judge();
  return `${number(Object.values(judged.counts).reduce((a, b) => a + b, 0))} judged`;
}
async function takeFile(form, file) {
  form.elements.list.value = await file.text();
  form.requestSubmit();
}
