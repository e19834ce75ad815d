// The API. The key is in the tab's memory and in a header, never in an address.
const KEY = "mdmsim-admin-key";
let key = sessionStorage.getItem(KEY) || "";
const fromAddress = /(?:^#|&)key=([^&]+)/.exec(location.hash);
if (fromAddress) {
  try { key = decodeURIComponent(fromAddress[1]); } catch { key = fromAddress[1]; }
  sessionStorage.setItem(KEY, key);
  history.replaceState(null, "", location.pathname + location.search);
}

class Locked extends Error {}
class Refusal extends Error {}
class Gone extends Error {}

async function call(method, path, { query = {}, body, type, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const headers = { Authorization: `Bearer ${key}` };
  if (body !== undefined) headers["Content-Type"] = type || "application/json";
  let answer;
  try {
    answer = await fetch(path + (given.length ? `?${new URLSearchParams(given)}` : ""), { method, headers, signal, cache: "no-store", body: body === undefined ? undefined : type ? body : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone("The fake APNs does not answer");
  }
  if (answer.status === 401) throw new Locked("That key is not the one of this fake.");
  if (answer.status === 204) return null;
  let told;
  try { told = await answer.json(); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone("The fake APNs was cut off in the middle of an answer");
  }
  if (!answer.ok) throw new Refusal(told.error || `answered ${answer.status}`);
  return told;
}
const get = (path, query, signal) => call("GET", path, { query, signal });
