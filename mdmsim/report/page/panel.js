// What stands beside the diagram: one exchange, or one event, opened.
const panel = document.getElementById("panel");

function exchangeView(item, number) {
  const exchange = item.exchanges[number], host = exchange.url.replace(/^(https?:\/\/[^/]+)/, "$1\u200b");
  const outcome = exchange.status !== undefined ? String(exchange.status) : exchange.error_class || "no answer";
  const bad = exchange.status === undefined || exchange.status >= 400;
  const facts = [
    ["From", exchange.device || "the scenario"],
    ["Identity", exchange.identity || (exchange.url.startsWith("https:") ? "none in TLS" : "none")],
    ["Took", ms(exchange.took_ms)],
  ];
  if (exchange.connection !== undefined) facts.push(["Connection", String(exchange.connection)]);
  for (const [status, url] of exchange.redirects || []) facts.push(["Redirected", `${status} to ${url}`]);
  if (exchange.fault) facts.push(["Fault", `${exchange.fault}, injected on purpose`]);
  const failure = exchange.error
    ? el("section", { class: "message" }, el("h3", {}, "Cut short"), el("p", { class: "about" }, `${exchange.error_class || "error"}: ${exchange.error}`))
    : "";
  const answer = exchange.status === undefined ? "" : messageOf(`Answer: ${outcome}`, DATA.headers[exchange.rh], DATA.bodies[exchange.rb]);
  return [
    bar(`${number + 1} of ${item.exchanges.length}`, number > 0 && hashOf(item.id, number - 1), number + 1 < item.exchanges.length && hashOf(item.id, number + 1), item),
    el("h2", { id: "panel-title" }, exchange.label, " ", el("span", { class: bad ? "outcome bad" : "outcome" }, `→ ${bad ? "✗ " : ""}${outcome}`)),
    el("p", { class: "request-line mono" }, el("b", {}, exchange.method), " ", host),
    factsOf(facts),
    messageOf("Request", DATA.headers[exchange.qh], DATA.bodies[exchange.qb]),
    failure, answer,
  ];
}

function eventView(item, number) {
  const event = item.events[number];
  return [
    bar("event", null, null, item),
    el("h2", { id: "panel-title" }, event.kind),
    factsOf([["Seen by", event.source], ...(event.device ? [["Device", event.device]] : [])]),
    el("section", { class: "message" }, el("div", { class: "tree" }, treeOf(event.data, 3))),
  ];
}

function bar(where, before, after, item) {
  const turn = (href, label, sign) => href
    ? el("a", { href, class: "turn", "aria-label": label, title: label }, sign)
    : el("span", { class: "turn off", "aria-hidden": "true" }, sign);
  return el("div", { class: "panel-bar" },
    before === null && after === null ? "" : [turn(before, "Previous exchange", "↑"), turn(after, "Next exchange", "↓")],
    el("span", { class: "soft" }, where),
    el("a", { href: hashOf(item.id), class: "turn close", "aria-label": "Close", title: "Close (Esc)" }, "✕"));
}

function showPanel(item, state) {
  const exchange = state.x !== null && item.exchanges && item.exchanges[state.x] ? state.x : null;
  const event = exchange === null && state.e !== null && item.events && item.events[state.e] ? state.e : null;
  const wanted = exchange !== null || event !== null;
  document.body.classList.toggle("with-panel", wanted);
  panel.hidden = !wanted;
  if (!wanted) return panel.replaceChildren();
  panel.replaceChildren(...(exchange !== null ? exchangeView(item, exchange) : eventView(item, event)));
  panel.setAttribute("aria-labelledby", "panel-title");
  panel.scrollTop = 0;
}
