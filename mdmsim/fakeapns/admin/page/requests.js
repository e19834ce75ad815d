// Requests: the list, and what one opens.
const REQUEST_COLUMNS = [["time", "when"], ["answer", "verdict"], ["device", "device"], ["token", "token"], ["topic", "topicCell"], ["what became of it", "became"]];
let revealed = null, lastOpened = null;

// Why it went so, unless that is the fault whose name stands there already.
const remark = (one) => (one.why && !one.why.startsWith("fault:") ? el("span", { class: "why soft" }, ` ${one.why}`) : "");
function requestRows(list, now, opened) {
  // Newer ones do not push out the one that is open.
  const all = opened && !list.some((one) => one.number === opened.number) ? [...list, opened].sort((a, b) => b.number - a.number) : list;
  return all.flatMap((one) => {
    const open = String(one.number) === state.open;
    const where = hashOf({ ...state, open: open ? "" : String(one.number) });
    const cells = [
      el("a", { class: "opener", href: where, "aria-expanded": String(open), "data-key": `open-${one.number}` }, el("span", { class: "sr" }, `request ${one.number}, `), exact(one.at_ms)),
      verdict(one), one.device || el("span", { class: "soft" }, "unknown"), tokenLink(one.topic, one.token), topicText(one.topic),
      [one.status && one.status !== 200 ? "" : stateWord(one.state), one.fault ? el("span", { class: "tag" }, one.fault) : "", remark(one)],
    ];
    const rows = [row(`r${one.number}`, REQUEST_COLUMNS, cells, { class: open ? "opened" : null })];
    if (open) rows.push(el("tr", { "data-key": `d${one.number}`, role: "row", class: "detail" }, el("td", { role: "cell", colspan: REQUEST_COLUMNS.length }, opened && opened.number === one.number ? requestDetail(opened, now) : nothing("One moment…"))));
    return rows;
  });
}

function requestDetail(one, now) {
  const steps = [["accepted", one.status === 200 ? one.at_ms : null], ["stored", one.stored_ms], ["delivered", one.delivered_ms], ["acknowledged", one.acknowledged_ms], ["acted upon", one.acted_ms], [one.ended, one.ended_ms]];
  const life = steps.filter(([, at]) => at !== null).sort((a, b) => a[1] - b[1]);
  return el("div", { class: "opened-request" },
    one.status === 200 ? el("ol", { class: "life", "aria-label": "Life of the push" }, life.map(([name, at], place) => el("li", { class: name === one.ended ? "tolerated" : "" }, el("b", {}, name), " ", el("span", { class: "mono" }, exact(at)), place ? el("span", { class: "soft" }, ` after ${span(at - one.at_ms)}`) : ""))) : "",
    facts([
      ["verdict", verdict(one)], ["why", one.why], ["fault", one.fault && el("span", { class: "tag" }, one.fault)],
      ["apns-id", el("code", {}, one.apns_id)], ["token", one.token && el("code", { class: "wrap" }, one.token)], ["topic", one.topic && el("code", { class: "wrap" }, one.topic)],
      ["over", el("a", { href: "#/connections" }, `connection ${one.provider}`), ` (${one.environment})`],
      ["expires", one.status !== 200 ? null : one.expires_ms ? moment(one.expires_ms, now) : "now or never"],
      ["request", el("code", { class: "wrap" }, `${one.method} ${one.path}`)],
    ]),
    el("h3", {}, "Headers"), one.headers.length ? el("dl", { class: "facts-list headers" }, one.headers.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value || el("i", {}, "empty"))])) : nothing("none"),
    el("h3", {}, "Payload", el("span", { class: "soft" }, ` ${count(one.payload_size, "byte")}`)),
    one.payload ? el("pre", { class: "payload" }, one.payload) : nothing("empty"),
    one.payload ? el("button", { type: "button", class: "take", "data-act": one.masked ? "reveal" : "mask", "data-number": one.number, "data-key": "reveal" }, one.masked ? "show the push magic" : "hide the push magic") : "");
}

async function openedRequest(signal) {
  if (!/^\d+$/.test(state.open)) return null;
  try { return (lastOpened = await get(`/transactions/${state.open}`, { reveal: revealed === state.open ? "true" : "" }, signal)); } catch (error) {
    // Forgotten while somebody looks at it, it stays.
    if (error instanceof Refusal) return String(lastOpened?.number) === state.open && (lastOpened.masked || revealed === state.open) ? lastOpened : null;
    throw error;
  }
}

const requestsView = {
  name: "Requests", searches: true,
  async load(signal) {
    const query = { q: state.q, before: state.before, limit: 50, verdict: ["accepted", "refused"].includes(state.only) ? state.only : "", fault: state.only === "faults" ? "any" : "" };
    const [list, opened] = await Promise.all([get("/transactions", query, signal), openedRequest(signal)]);
    return { list, opened };
  },
  render({ list, opened }, now) {
    const found = list.transactions;
    said(`${found.length}${list.next ? " or more" : ""} requests`);
    return [
      el("h1", {}, "Requests"),
      el("p", { class: "soft" }, `Newest first. ${number(list.remembered)} of ${number(list.requests)} are remembered.`),
      chips("Show", "only", state.only, [["", "all"], ["accepted", "✓ accepted"], ["refused", "✗ refused"], ["faults", "⚠ met a fault"]]),
      found.length ? table("Requests of providers", REQUEST_COLUMNS, requestRows(found, now, opened), { class: "rows requests" }) : nothing(list.requests ? "No request matches." : "No provider has sent anything yet."),
      el("p", { class: "pages" }, state.before ? el("a", { href: hashOf({ ...state, ...NO_PAGE }) }, "← newest") : "", " ", list.next ? el("a", { href: hashOf({ ...state, open: "", before: String(list.next) }) }, "older →") : ""),
    ];
  },
};
