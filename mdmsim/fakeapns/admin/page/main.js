// Where the reader is lives in the fragment: #/requests?q=mac-1&only=refused&open=12
const VIEWS = { overview: overviewView, requests: requestsView, connections: connectionsView, topics: topicsView, tokens: tokensView, pending: pendingView, faults: faultsView, due: dueView, token: tokenView };
const $ = (id) => document.getElementById(id);
const main = $("main");
let state = parseHash();

function parseHash() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const found = new URLSearchParams(query || ""), parts = path.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  const word = (name) => found.get(name) || "";
  return { view: VIEWS[parts[0]] ? parts[0] : "overview", rest: parts.slice(1), q: word("q"), only: word("only"), open: word("open"), before: word("before"), offset: word("offset") };
}
function hashOf({ view = state.view, rest = [], ...words }) {
  const query = new URLSearchParams(Object.entries(words).filter(([, value]) => value));
  const path = [view === "overview" ? "" : view, ...(view === state.view && !rest.length ? state.rest : rest).map(encodeURIComponent)].join("/");
  return `#/${path}${String(query) ? `?${query}` : ""}`;
}
const said = (text) => { if (state.q) $("found").textContent = text; else $("found").textContent = ""; };
function tell(word, kind) { const node = $("state"); if (node.textContent !== word) node.textContent = word; node.className = kind; }

// Views ------------------------------------------------------------------------------------------------------------
const body = el("div", { class: "view" });
let form = null, shownView = "";
function enter() {
  if (shownView === state.view) return;
  shownView = state.view;
  form = null;
  body.replaceChildren(nothing("One moment…"));
  main.replaceChildren(body);
  navigation();
  // Where the views are a line that scrolls, the current one is to be seen.
  const strip = document.querySelector("nav.list"), here = strip.querySelector("[aria-current]");
  if (here) strip.scrollLeft = here.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2;
}
function navigation() {
  show($("views"), Object.entries(VIEWS).filter(([, view]) => !view.of).map(([name, view]) => {
    const here = name === state.view || VIEWS[state.view].of === name;
    return el("li", {}, el("a", { href: hashOf({ view: name, rest: [], q: view.searches ? state.q : "" }), "aria-current": here ? "page" : null }, view.name));
  }));
  document.title = `${VIEWS[state.view].name} · fake APNs · mdmsim`;
}
async function refresh(signal) {
  const view = VIEWS[state.view], at = state;
  const data = await view.load(signal);
  if (at !== state) return;
  const now = view.nowOf ? view.nowOf(data) : Date.now() + ahead;
  show(body, view.render(data, now));
  if (view.form && !form) {
    form = view.form();
    if (view.formFirst) main.prepend(form); else main.append(form);
  }
}

// The key ----------------------------------------------------------------------------------------------------------
function lock(why) {
  key = "";
  sessionStorage.removeItem(KEY);
  for (const id of ["inside", "search", "pause", "forget", "foot", "gone"]) $(id).hidden = true;
  $("door").hidden = false;
  $("door-says").textContent = why || "";
  shownView = "";
  main.replaceChildren();
  lastOpened = null;
  tell("", "");
  $("key").focus();
}
function unlock() {
  $("door").hidden = true;
  for (const id of ["inside", "search", "pause", "forget", "foot"]) $(id).hidden = false;
  wake();
}
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  sessionStorage.setItem(KEY, key);
  unlock();
});
$("forget").addEventListener("click", () => { lock(""); wake(); });

// Live -------------------------------------------------------------------------------------------------------------
// One loop: show, wait until the fake has something new, show again. `wake` begins anew at once: another view, a click.
let ahead = 0, cursor = "", poll = null, woken = null, paused = false, failures = 0, goneSince = 0;
function wake() { cursor = ""; poll?.abort(); woken?.(); }
const rest = (milliseconds) => new Promise((resolve) => { const timer = setTimeout(resolve, milliseconds); woken = () => { clearTimeout(timer); resolve(); }; });
const until = () => new Promise((resolve) => { woken = resolve; });
// The cursor is read before what is shown, so that nothing in between is missed.
async function changes(query) {
  const told = await get("/changes", query, poll.signal);
  cursor = told.cursor;
  ahead = told.now_ms - Date.now();
}
async function live() {
  let fresh = true;
  for (;;) {
    if (!key) { lock($("door-says").textContent); await until(); fresh = true; continue; }
    if ((document.hidden || paused) && !fresh) { tell(paused ? "paused" : "asleep", "soft"); await until(); fresh = true; continue; }
    poll = new AbortController();
    const view = VIEWS[state.view], at = state;
    try {
      enter();
      navigation();
      if (!cursor) await changes({ wait: 0 });
      await refresh(poll.signal);
      back();
      fresh = false;
      if (paused || document.hidden) continue;
      tell("live", "passed");
      await rest(view.every || 500);
      if (at !== state) { fresh = true; continue; }
      await changes({ since: cursor, wait: view.wait || 20 });
    } catch (error) {
      if (error.name === "AbortError") { fresh = !document.hidden; continue; }
      if (error instanceof Locked) { lock(error.message); continue; }
      if (error instanceof Refusal) { show(body, el("h1", {}, view.name), el("p", { class: "banner bad", role: "alert" }, error.message)); await until(); fresh = true; continue; }
      if (!(error instanceof Gone)) throw error;
      failures += 1;
      goneSince ||= Date.now();
      tell("gone", "failed");
      $("gone").hidden = false;
      $("gone").textContent = `${error.message} since ${clock(goneSince)}. What is shown is older. It is tried again every few seconds.`;
      await rest(Math.min(1000 * 2 ** Math.min(failures - 1, 3), 5000));
      fresh = true;
      cursor = "";
    }
  }
}
function back() { failures = goneSince = 0; $("gone").hidden = true; }
document.addEventListener("visibilitychange", () => { if (document.hidden) poll?.abort(); else wake(); });
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "go on" : "pause";
  wake();
});

// Going places -----------------------------------------------------------------------------------------------------
addEventListener("hashchange", () => {
  const before = state;
  const late = /(?:^#|&)key=([^&]+)/.exec(location.hash);
  if (late) { location.reload(); return; }
  state = parseHash();
  if (state.view !== before.view) { said(""); revealed = null; }
  if ($("q").value !== state.q) $("q").value = state.q;
  wake();
  if (before.view !== state.view || before.rest.join() !== state.rest.join()) { scrollTo(0, 0); main.focus({ preventScroll: true }); }
});
$("q").value = state.q;
function search() {
  const q = $("q").value.trim(), view = VIEWS[state.view].searches ? state.view : "requests";
  if (q === state.q && view === state.view) return;
  const next = hashOf({ view, rest: [], q, only: view === state.view ? state.only : "" });
  history.replaceState(null, "", next);
  state = parseHash();
  wake();
}
let typing = 0;
$("q").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 250); });
$("search").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); search(); });
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });

// What can be done -------------------------------------------------------------------------------------------------
const ACTS = {
  reveal: (node) => { revealed = node.dataset.number; },
  mask: () => { revealed = null; },
  "end-fault": (node) => call("DELETE", `/faults/${node.dataset.number}`),
  light: () => call("DELETE", "/blackout"),
};
const CHANGES = {
  level: (node) => call("PUT", "/log-level", { body: { level: node.value } }),
  "fault-name": (node) => takeFields(node.form),
  "due-file": (node) => node.files[0] && takeFile(node.form, node.files[0]),
};
const SUBMITS = { fault: planFault, goaway: sendGoaway, due: judgeDue };
async function act(work, says) {
  if (says) { says.textContent = ""; says.classList.remove("bad"); }
  try {
    const text = await work();
    if (says) says.textContent = text || "";
    wake();
  } catch (error) {
    if (error instanceof Locked) { lock(error.message); wake(); return; }
    if (!says) { tell(error.message, "failed"); return; }
    says.classList.add("bad");
    says.textContent = error.message;
  }
}
document.addEventListener("click", (event) => {
  const node = event.target.closest("[data-act]");
  if (node && ACTS[node.dataset.act]) { act(() => ACTS[node.dataset.act](node)); return; }
  // A row opens wherever it is clicked, unless something in it was meant or its text is being selected.
  const opener = event.target.closest("tr")?.querySelector("a.opener");
  if (opener && !event.target.closest("a, button, input, select, summary") && !String(getSelection())) opener.click();
});
document.addEventListener("change", (event) => {
  const work = CHANGES[event.target.dataset.act];
  if (work) act(() => work(event.target), event.target.form?.querySelector(".says"));
});
document.addEventListener("submit", (event) => {
  const work = SUBMITS[event.target.dataset.submit];
  if (!work) return;
  event.preventDefault();
  act(() => work(event.target), event.target.querySelector(".says"));
});
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    const target = event.target.closest("[data-drop]");
    if (!target) return;
    event.preventDefault();
    if (kind === "drop" && event.dataTransfer.files[0]) act(() => takeFile(target, event.dataTransfer.files[0]), target.querySelector(".says"));
  });
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typed = event.target.matches("input, textarea, select");
  if (event.key === "Escape") {
    if (typed) event.target.blur(); else if (state.open) location.hash = hashOf({ ...state, open: "" });
    return;
  }
  if (typed || !key) return;
  if (event.key === "/") { event.preventDefault(); $("q").focus(); $("q").select(); return; }
  if (event.key !== "j" && event.key !== "k") return;
  const openers = [...main.querySelectorAll("a.opener")], at = openers.indexOf(document.activeElement);
  openers[event.key === "j" ? Math.min(at + 1, openers.length - 1) : Math.max(at - 1, 0)]?.focus();
});
if (key) unlock();
live();
