// Makes what is shown like what was made anew, and leaves alone what is the same: focus, selection and scrolling stay.
// Listeners are never on what is morphed; clicks are heard at the document, by data-act.
const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null);
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

function morph(shown, wanted) {
  if (shown.nodeType !== 1) {
    if (shown.nodeValue !== wanted.nodeValue) shown.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...shown.attributes]) if (!wanted.hasAttribute(name) && !(name === "open" && shown.nodeName === "DETAILS")) shown.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  morphChildren(shown, [...wanted.childNodes]);
}

function morphChildren(parent, wanted) {
  const keyed = new Map([...parent.childNodes].filter((node) => keyOf(node) !== null).map((node) => [keyOf(node), node]));
  let at = parent.firstChild;
  for (const next of wanted) {
    const known = keyOf(next) !== null ? keyed.get(keyOf(next)) : undefined;
    if (known && alike(known, next)) {
      if (known === at) at = at.nextSibling; else parent.insertBefore(known, at);
      morph(known, next);
    } else if (at && keyOf(at) === null && alike(at, next)) {
      const same = at;
      at = at.nextSibling;
      morph(same, next);
    } else {
      parent.insertBefore(next, at);
    }
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

const show = (parent, ...children) => morphChildren(parent, [...fill(document.createDocumentFragment(), {}, children).childNodes]);
