// Small helpers over the DOM. Text always goes in as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== "") node.append(child);
  }
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const MARKS = { passed: "✓", tolerated: "!", failed: "✗", error: "⚠", "not-applicable": "–" };
const fine = (grade) => grade === "passed" || grade === "not-applicable";
const words = (grade) => grade.replace("-", " ");
const graded = (grade, ...rest) =>
  el("span", { class: grade }, el("span", { class: "mark", "aria-hidden": "true" }, MARKS[grade]), ...rest);
const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many || one + "s"}`;
const ms = (value) => (value < 1000 ? `${value} ms` : `${(value / 1000).toFixed(value < 10000 ? 2 : 0)} s`);

// A command that can be taken along with one click, or by selecting it.
function copyable(code) {
  const button = el("button", { type: "button", class: "take", onclick: async () => {
    let said = "copied";
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      said = "selected";
    }
    button.textContent = said;
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  } }, "copy");
  code.after(button);
}
