// A card as elements. Its text comes from outside: it is only ever set as text, never as markup.

/** An element with a class, and children that are elements or text. */
export function el(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Text whose words may break between the parts of a long name: what fits into a narrow column stays whole. */
export function breakable(text) {
  const words = String(text).split(/(?<=\s)/);
  return words.flatMap((word) => {
    const parts = word.length > 24 ? word.split(/(?<=[a-z0-9])(?=[A-Z])|(?<=[/_.:@-])/) : [word];
    return parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));
  });
}

/** A moment, with the exact time as its title. */
export function when(iso) {
  const node = el("time", "", ago(iso));
  node.dateTime = iso;
  node.title = new Date(iso).toLocaleString();
  return node;
}

/** The age of a moment, roughly. */
export function ago(iso) {
  const seconds = Math.max(0, (Date.now() - new Date(iso).getTime()) / 1000);
  return `${span(seconds)} ago`;
}

/** A length of time, roughly. */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** Renders a card; `press(button, element)` is called for its buttons. */
export function card(data, press) {
  const tones = ["info", "good", "warning", "bad"];
  const node = el("article", `card ${tones.includes(data.tone) ? data.tone : "info"}`);
  node.setAttribute("aria-label", data.fallback);
  for (const block of data.blocks) node.append(renderBlock(block, press));
  return node;
}

function renderBlock(block, press) {
  switch (block.type) {
    case "header": return el("h3", "", block.text);
    case "text": return el("p", "", ...block.spans.map(renderSpan));
    case "context": return el("div", "context", ...elsewhere(block.spans).map(renderSpan));
    case "code": return el("pre", "", block.text);
    case "divider": return el("hr");
    case "picture": return renderPicture(block);
    case "fields": return el("dl", "", ...block.fields.map(([label, spans]) =>
      el("div", "", el("dt", "", label), el("dd", "", ...spans.flatMap(renderValue)))));
    case "table": return el("div", "wide", el("table", "",
      el("thead", "", el("tr", "", ...block.header.map((text) => el("th", "", text)))),
      el("tbody", "", ...block.rows.map((row) => el("tr", "", ...row.map((text) => el("td", "", text)))))));
    case "buttons": return el("div", "row", ...block.buttons.map((button) => renderButton(button, press)));
    // A later version of nightbell may know more blocks than a page that is still open.
    default: return el("p", "soft", "(this page is too old to show a part of the message: reload it)");
  }
}

/** A value of a field: mostly a name, and sometimes longer than its column. */
function renderValue(span) {
  switch (span.type) {
    case "plain": return breakable(span.text);
    case "code": return el("code", "", ...breakable(span.text));
    default: return renderSpan(span);
  }
}

/** Without links to this very page, and the dots before them: whoever reads them is here. */
function elsewhere(spans) {
  const isHere = (span) => span?.type === "link" && isOurs(span.text.url);
  return spans.filter((span, i) => !isHere(span) && !(isHere(spans[i + 1]) && /^\s*·\s*$/.test(span.text)));
}

function isOurs(url) {
  return URL.canParse(url) && new URL(url).origin === location.origin;
}

const SHAPES = new Set(["svg", "rect", "line", "path", "text"]);
const MARKS = new Set(["class", "viewBox", "x", "y", "x1", "y1", "x2", "y2", "width", "height", "rx", "d", "text-anchor"]);

/** A picture, drawn anew from known shapes and attributes only: nothing in it can run, load or link. */
function renderPicture({ svg, alt }) {
  const source = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  const copy = (node) => {
    if (!SHAPES.has(node.localName)) return null;
    const shape = document.createElementNS("http://www.w3.org/2000/svg", node.localName);
    for (const { name, value } of node.attributes) if (MARKS.has(name)) shape.setAttribute(name, value);
    if (node.localName === "text") shape.textContent = node.textContent;
    else shape.append(...[...node.children].map(copy).filter((child) => child !== null));
    return shape;
  };
  const picture = copy(source);
  if (!picture) return el("p", "context", alt);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", alt);
  return el("figure", "picture", picture);
}

function renderSpan(span) {
  switch (span.type) {
    case "bold": return el("strong", "", span.text);
    case "italic": return el("em", "", span.text);
    case "code": return el("code", "", span.text);
    case "user": return el("span", "info", `@${span.text}`);
    case "link": return renderLink(span.text);
    default: return document.createTextNode(String(span.text ?? ""));
  }
}

function renderLink({ label, url }) {
  if (!/^https?:\/\//i.test(url)) return document.createTextNode(label);
  const node = el("a", "", label);
  node.href = url;
  // A link to this very page stays in this tab.
  if (!isOurs(url)) {
    node.rel = "noopener noreferrer";
    node.target = "_blank";
  }
  return node;
}

function renderButton(button, press) {
  const node = el("button", button.style === "plain" ? "" : button.style, button.label);
  node.type = "button";
  // Said in words too, for screen readers and where the font has no such picture.
  const words = { thumbs_up: "This helped", thumbs_down: "This did not help" }[button.press.verb];
  if (words) node.title = node.ariaLabel = words;
  node.dataset.key = `${button.press.verb}:${button.press.id}`;
  node.addEventListener("click", () => press(button, node));
  return node;
}
