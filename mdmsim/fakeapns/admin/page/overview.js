// The whole at a glance.
const tile = (name, value, href, note) => el("li", {}, el("a", { href, class: "tile" }, el("span", { class: "tile-name" }, name), el("b", {}, number(value)), el("span", { class: "soft" }, note || "\u00a0")));

const overviewView = {
  name: "Overview", every: 1000, wait: 5,
  async load(signal) {
    const [stats, history, recent, log] = await Promise.all([get("/stats", {}, signal), get("/history", {}, signal), get("/transactions", { limit: 8 }, signal), get("/log-level", {}, signal)]);
    return { stats, history, recent, log };
  },
  render({ stats, history, recent, log }) {
    const now = stats.now_ms, pushes = stats.pushes, rate = (name) => (sample) => sample[name] / (sample.seconds || 1);
    const table_ = (caption, entries, link) => (entries.length ? el("div", {}, el("h2", {}, caption), el("ul", { class: "counts" }, entries.map(([name, value]) => el("li", {}, el("a", { href: link(name) }, name), el("b", {}, number(value)))))) : "");
    const recentRows = recent.transactions.map((one) => row(`r${one.number}`, REQUEST_COLUMNS, [
      el("a", { class: "opener", href: hashOf({ view: "requests", open: String(one.number) }) }, exact(one.at_ms)), verdict(one), one.device || el("span", { class: "soft" }, "unknown"), tokenLink(one.topic, one.token), topicText(one.topic),
      [one.status && one.status !== 200 ? "" : stateWord(one.state), one.fault ? el("span", { class: "tag" }, one.fault) : "", remark(one)]]));
    return [
      el("h1", { class: "sr" }, "Overview"),
      stats.trouble ? el("p", { class: "banner bad", role: "alert" }, `What was told last would not survive a crash: ${stats.trouble}`) : "",
      darkness(stats.blackout, now),
      el("ul", { class: "tiles" },
        tile("accepted", pushes.accepted, "#/requests?only=accepted"), tile("refused", pushes.refused, "#/requests?only=refused"),
        tile("delivered", pushes.delivered, "#/requests", `${number(pushes.acknowledged)} acknowledged`), tile("acted upon", pushes.acted, "#/requests", stats.acting.p50_ms === null ? "" : `half within ${span(stats.acting.p50_ms)}`),
        tile("pending", stats.pending, "#/pending", `${number(pushes.expired)} expired, ${number(pushes.superseded)} superseded`), tile("listening", stats.listening, "#/tokens?only=listening", `of ${count(stats.tokens - stats.retired, "token")}`),
        tile("providers", stats.connections.providers ?? 0, "#/connections", `${count(stats.connections.couriers ?? 0, "courier")}`), tile("faults", Object.values(stats.faults).reduce((a, b) => a + b, 0), "#/faults", `${number(stats.planned_faults)} planned`)),
      el("div", { class: "plots" },
        plot("Pushes per second", history.samples, [["accepted", "one", rate("accepted")], ["refused", "two", rate("refused")], ["delivered", "three", rate("delivered")]], { now, write: (value) => Number(value.toPrecision(3)).toLocaleString("en") }),
        plot("From accepted to delivered", history.samples, [["half within", "one", (sample) => sample.p50_ms], ["95 %", "two", (sample) => sample.p95_ms], ["99 %", "three", (sample) => sample.p99_ms]], { now, write: span, log: true, least: 10 })),
      el("div", { class: "beside" }, table_("Refusals by reason", Object.entries(stats.reasons), (name) => hashOf({ view: "requests", q: name })), table_("Injected faults", Object.entries(stats.faults), (name) => hashOf({ view: "requests", q: name, only: "faults" }))),
      el("h2", {}, "Last requests"),
      recentRows.length ? table("Last requests", REQUEST_COLUMNS, recentRows, { class: "rows requests" }) : nothing("No provider has sent anything yet."),
      el("p", { class: "log" }, el("label", { for: "level" }, "Log"), " ", el("select", { id: "level", "data-key": "level", "data-act": "level" }, ["off", "warning", "info", "debug"].map((level) => el("option", { value: level, selected: level === log.level }, level))), " ", el("span", { class: "soft" }, log.file ? `to ${log.file}` : "to the fake's standard error"),
        el("span", { class: "soft since" }, `The fake runs since ${day(stats.started_ms)} ${clock(stats.started_ms)}, ${span(now - stats.started_ms)}.`)),
    ];
  },
  nowOf: (data) => data.stats.now_ms,
};

function darkness(blackout, now) {
  const dark = [["providers", blackout.providers_until_ms], ["devices", blackout.devices_until_ms]].filter(([, until]) => until !== null);
  return dark.length ? el("p", { class: "banner bad", role: "status" }, `Blackout: ${dark.map(([side, until]) => `${side} until ${clock(until)} (${span(Math.max(0, until - now))})`).join(", ")} `, el("button", { type: "button", "data-act": "light", "data-key": "light" }, "end it now")) : "";
}
