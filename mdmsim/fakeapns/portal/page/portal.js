// The push certificate portal. The admin key lives in sessionStorage of this tab, and goes out as a header only.
"use strict";
const at = (id) => document.getElementById(id);
const KEY = "mdmsim-admin-key", WHO = "mdmsim-portal-account";
const MARKS = { active: ["✓", "passed"], expired: ["!", "tolerated"], revoked: ["✗", "failed"] };

function say(text, good) {
  const said = at("said");
  said.textContent = text;
  said.className = good ? "good" : "bad";
  said.hidden = !text;
}

async function ask(path, options = {}) {
  const account = encodeURIComponent(sessionStorage.getItem(WHO) || "");
  const joined = `portal/certificates${path}${path.includes("?") ? "&" : "?"}account=${account}`;
  let answer;
  try {
    answer = await fetch(joined, { ...options, headers: { authorization: `Bearer ${sessionStorage.getItem(KEY)}` } });
  } catch {
    throw new Error("The fake APNs does not answer any more.");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
  if (answer.status === 401) {
    sessionStorage.removeItem(KEY);
    show(false);
    throw new Error("This is not the admin key.");
  }
  throw new Error(error);
}

function show(signedIn) {
  at("sign-in").hidden = signedIn;
  at("signed-in").hidden = !signedIn;
  if (signedIn) at("who").textContent = sessionStorage.getItem(WHO);
  else at("key").focus();
}

function button(text, topic, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", `${text} ${topic}`);
  made.addEventListener("click", act);
  return made;
}

function cell(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}

function row(one) {
  const topic = cell("th", cell("span", one.topic));
  topic.scope = "row";
  topic.firstChild.className = "mono";
  if (one.note) topic.append(cell("div", one.note));
  const [mark, grade] = MARKS[one.status];
  const status = cell("span", cell("span", mark), ` ${one.status}`);
  status.className = grade;
  status.firstChild.className = "mark";
  status.firstChild.setAttribute("aria-hidden", "true");
  const when = cell("time", one.expires.slice(0, 10));
  when.dateTime = one.expires;
  const expires = cell("td", when);
  if (one.status === "active" && one.expires_soon) expires.append(cell("div", "renew it soon"));
  if (one.renewals) expires.append(cell("div", `renewed ${one.renewals}×`));
  const acts = cell("td", button("Download", one.topic, () => attempt(() => download(one))));
  if (one.status !== "revoked") {
    acts.append(button("Renew", one.topic, () => open("renew", one)), button("Revoke", one.topic, () => open("revoke", one)));
  }
  return cell("tr", topic, cell("td", one.vendor), expires, cell("td", status), acts);
}

let chosen = null;
function open(name, one) {
  chosen = one;
  at(`${name}-topic`).textContent = one.topic;
  at(name).querySelector("form").reset();
  at(name).showModal();
}

async function list() {
  const { certificates } = await (await ask("")).json();
  at("certificates").replaceChildren(...certificates.map(row));
  at("none").hidden = certificates.length > 0;
  show(true);
}

async function download(one) {
  const answer = await ask(`/${one.id}`);
  const name = /filename="([^"]*)"/.exec(answer.headers.get("content-disposition"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name ? name[1] : "MDM_Certificate.pem";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function attempt(act) {
  say("");
  try {
    await act();
  } catch (error) {
    say(error.message, false);
  }
}

function on(id, act) {
  at(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => act(event.target));
  });
}

on("sign-in", async () => {
  sessionStorage.setItem(KEY, at("key").value.trim());
  sessionStorage.setItem(WHO, at("account").value.trim());
  at("key").value = "";
  await list();
});
at("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  at("certificates").replaceChildren();
  say("");
  show(false);
});
on("create", async (form) => {
  const query = `?note=${encodeURIComponent(at("note").value)}`;
  const made = await (await ask(query, { method: "POST", body: at("request").files[0] })).json();
  form.reset();
  await list();
  say(`Created ${made.topic}. ${made.warning}`, true);
});
on("renewal", async () => {
  const body = at("renew-request").files[0];
  at("renew").close();
  const made = await (await ask(`/${chosen.id}/renew`, { method: "POST", body })).json();
  await list();
  say(`Renewed ${made.topic} until ${made.expires.slice(0, 10)}. Download it, and give it to your server with the key of its request.`, true);
});
on("revocation", async () => {
  at("revoke").close();
  const made = await (await ask(`/${chosen.id}/revoke`, { method: "POST" })).json();
  await list();
  say(`Revoked ${made.topic}.`, true);
});
for (const name of ["renew", "revoke"]) at(`${name}-cancel`).addEventListener("click", () => at(name).close());

if (sessionStorage.getItem(KEY)) attempt(list);
else show(false);
