// Topics, tokens, one token, and the pushes that are kept.
const SIZE = 100;
const offsetNow = () => (/^\d+$/.test(state.offset) ? Number(state.offset) : 0);
const TOKEN_COLUMNS = [["device", "device"], ["token", "token"], ["topic", "topicCell"], ["state", "became"], ["accepted", "when"], ["delivered", "when"], ["acted upon", "when"]];

function tokenState(one) {
  if (one.retired_ms !== null) return marked("failed", "✗", "retired");
  return [one.listening !== null ? marked("passed", "✓", "listening") : marked("plain", "–", "nobody listens"), one.pending ? el("span", { class: "tag" }, "push kept") : ""];
}
const special = (one) => [one.channel === "device" ? "" : one.channel, one.environment === "production" ? "" : one.environment].filter(Boolean).map((word) => el("span", { class: "tag" }, word));

const tokensView = {
  name: "Tokens", searches: true, every: 2500,
  load: (signal) => get("/tokens", { q: state.q, state: state.only, offset: state.offset, limit: SIZE }, signal),
  render(page, now) {
    said(`${number(page.total)} tokens`);
    const rows = page.tokens.map((one) => row(`${one.topic} ${one.token}`, TOKEN_COLUMNS, [
      [el("a", { class: "opener", href: `#/token/${encodeURIComponent(one.topic)}/${one.token}` }, one.device || "unnamed"), special(one)],
      el("span", { class: "mono", title: one.token }, short(one.token)), topicText(one.topic), tokenState(one), moment(one.accepted_ms, now), moment(one.delivered_ms, now), moment(one.acted_ms, now)]));
    return [
      el("h1", {}, "Tokens"),
      chips("Show", "only", state.only, [["", "all"], ["listening", "✓ listening"], ["deaf", "– nobody listens"], ["pending", "◦ push kept"], ["retired", "✗ retired"]]),
      pages(offsetNow(), page.tokens.length, page.total, page.next, SIZE),
      rows.length ? table("Push tokens", TOKEN_COLUMNS, rows) : nothing(state.q || state.only ? "No token matches." : "No token is registered yet: devices register at the courier, or POST /tokens does."),
    ];
  },
};

const tokenView = {
  name: "Token", of: "tokens",
  async load(signal) {
    const [topic, token] = state.rest;
    const [found, opened] = await Promise.all([get(`/tokens/${encodeURIComponent(topic || "")}/${encodeURIComponent(token || "")}`, {}, signal), openedRequest(signal)]);
    return { found, opened };
  },
  render({ found, opened }, now) {
    const one = found.token;
    return [
      el("p", { class: "crumb" }, el("a", { href: "#/tokens" }, "Tokens"), " / "),
      el("h1", {}, one.device || "A token without a device"),
      facts([
        ["token", el("code", { class: "wrap" }, one.token)], ["topic", el("code", { class: "wrap" }, one.topic)], ["also called", found.aliases.join(", ")],
        ["channel", one.channel], ["environment", one.environment], ["generation", String(one.generation)], ["registered", moment(one.registered_ms, now)],
        ["retired", one.retired_ms !== null ? moment(one.retired_ms, now) : null], ["state", tokenState(one)], ["listens over", one.listening],
        ["last accepted", moment(one.accepted_ms, now)], ["last delivered", moment(one.delivered_ms, now)], ["last acted upon", moment(one.acted_ms, now)],
      ]),
      found.pending ? [el("h2", {}, "Kept for it"), facts([["apns-id", el("code", {}, found.pending.apns_id)], ["accepted", moment(found.pending.accepted_ms, now)], ["expires", moment(found.pending.expires_ms, now), ` in ${span(found.pending.expires_ms - now)}`], ["kept back", found.pending.held ? "by a fault" : null], ["payload", el("code", { class: "wrap" }, found.pending.payload)]])] : "",
      el("h2", {}, "Its requests"),
      found.transactions.length ? table("Requests for this token", REQUEST_COLUMNS, requestRows(found.transactions, now, opened), { class: "rows requests" }) : nothing("None that is remembered."),
    ];
  },
};

const PENDING_COLUMNS = [["device", "device"], ["token", "token"], ["topic", "topicCell"], ["accepted", "when"], ["expires", "when"], ["why it waits", "became"]];
const pendingView = {
  name: "Pending", searches: true, every: 2500,
  load: (signal) => get("/pending", { q: state.q, offset: state.offset, limit: SIZE }, signal),
  render(page, now) {
    said(`${number(page.total)} pending pushes`);
    const rows = page.pending.map((one) => row(`${one.topic} ${one.token}`, PENDING_COLUMNS, [
      el("a", { class: "opener", href: `#/token/${encodeURIComponent(one.topic)}/${one.token}` }, one.device || "unnamed"), el("span", { class: "mono", title: one.token }, short(one.token)), topicText(one.topic), moment(one.accepted_ms, now),
      el("span", {}, moment(one.expires_ms, now), el("span", { class: "soft" }, ` in ${span(one.expires_ms - now)}`)),
      one.held ? marked("tolerated", "!", "a fault keeps it back") : one.listening ? marked("plain", "›", `on its way to ${one.listening}`) : marked("plain", "–", "nobody listens")]));
    return [
      el("h1", {}, "Pending pushes"), el("p", { class: "soft" }, "Accepted, and kept until the device is there or their time is over: at most one for each token and topic."),
      pages(offsetNow(), page.pending.length, page.total, page.next, SIZE),
      rows.length ? table("Pending pushes", PENDING_COLUMNS, rows) : nothing(state.q ? "No pending push matches." : "No push waits for a device."),
    ];
  },
};

const TOPIC_COLUMNS = [["topic", "device"], ["tokens", "number"], ["listening", "number"], ["pending", "number"], ["retired", "number"], ["certificates", "number"]];
const topicsView = {
  name: "Topics", searches: true,
  load: (signal) => get("/topics", {}, signal),
  render(list) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const found = list.filter((one) => words.every((word) => one.topic.toLowerCase().includes(word)));
    said(`${found.length} topics`);
    const rows = found.map((one) => row(one.topic, TOPIC_COLUMNS, [el("a", { class: "opener mono wrap", href: hashOf({ view: "tokens", q: one.topic }) }, one.topic), number(one.tokens), number(one.listening), number(one.pending), number(one.retired),
      one.certificates ? number(one.certificates) : marked("tolerated", "!", "none")]));
    return [el("h1", {}, "Topics"), rows.length ? table("Topics", TOPIC_COLUMNS, rows) : nothing(list.length ? "No topic matches." : "There is no token and no push certificate yet.")];
  },
};
