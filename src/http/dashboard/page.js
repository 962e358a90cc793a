// The live page: panes that read the API and read again when the stream says that something changed.

import { Failure, askTokenWith, get, listen, post, remove } from "/assets/api.js";
import { breakable, card, el, span, when } from "/assets/card.js";

const $ = (id) => document.getElementById(id);
const PANES = ["overview", "alerts", "approvals", "jobs", "sources", "console", "audit"];
/** Read again at least so often, whatever the stream says. */
const POLL_MS = 10_000;
const state = { pane: "overview", overview: null, jobsCursor: null, jobsNext: null, threads: new Map(), context: [], wanted: null };

// ---- asking people ----

/** Asks for a yes, and for a reason if `reason`. Answers the reason, or null for no. */
function confirmWith({ title, text, yes, reason, danger }) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text || "";
  $("ask-label").hidden = !reason;
  $("ask-reason").value = "";
  $("ask-yes").textContent = yes;
  $("ask-yes").className = danger ? "danger" : "primary";
  dialog.showModal();
  (reason ? $("ask-reason") : $("ask-no")).focus();
  return new Promise((resolve) => {
    let answer = null;
    const form = dialog.querySelector("form");
    form.onsubmit = (event) => {
      event.preventDefault();
      answer = $("ask-reason").value.trim();
      dialog.close();
    };
    $("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
  });
}

let login = null;
askTokenWith((problem) => {
  login ??= new Promise((resolve) => {
    const dialog = $("login");
    $("login-error").textContent = problem;
    dialog.oncancel = (event) => event.preventDefault();
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      const token = $("login-token").value.trim();
      if (!token) return;
      $("login-token").value = "";
      dialog.close();
      login = null;
      resolve(token);
    };
    dialog.showModal();
  });
  return login;
});

// ---- lists that keep their elements while nothing changed ----

function fill(parent, items, keyOf, render, empty) {
  const old = new Map([...parent.children].map((node) => [node.dataset.row, node]));
  const focused = document.activeElement?.dataset?.key;
  const rows = items.map((item) => {
    const key = keyOf(item);
    const content = JSON.stringify(item);
    let node = old.get(key);
    // What is being pressed stays until it is let go: a click on what was replaced would be lost.
    if (!node || (node.content !== content && !node.matches(":active"))) {
      node = render(item);
      node.dataset.row = key;
      node.content = content;
    }
    return node;
  });
  if (rows.length === 0 && empty) rows.push(el("p", "empty", empty));
  if (rows.length !== parent.children.length || rows.some((row, i) => row !== parent.children[i])) {
    parent.replaceChildren(...rows);
    if (focused && document.activeElement === document.body) {
      [...parent.querySelectorAll("[data-key]")].find((node) => node.dataset.key === focused)?.focus();
    }
  }
}

// ---- overview ----

function judge(o) {
  const unknown = o.sources.unknown;
  if (o.safety.stopped) return ["bad", "Emergency stop: no action is carried out"];
  if (o.alerts_open > 0) return ["bad", `${o.alerts_open} open alert${o.alerts_open === 1 ? "" : "s"}${unknown ? `, and ${unknown} source(s) not heard` : ""}`];
  if (!o.monitoring.enabled) return ["warning", "Monitoring is stopped: failures are not noticed"];
  if (unknown > 0) return ["warning", `No open alert, but ${unknown} source(s) are not heard: unknown is not healthy`];
  if (o.sources.fresh === 0) return ["warning", "No source is watched: nothing is known"];
  return ["good", "All is well: every source is fresh and no alert is open"];
}

function fact(label, value, tone) {
  return el("div", "fact", el("b", "", label), el("span", tone || "", value));
}

async function showOverview() {
  const o = await get("/overview");
  state.overview = o;
  const [tone, text] = judge(o);
  $("state").className = tone;
  if ($("state").textContent !== text) $("state").textContent = text;
  $("demo").hidden = !o.demo;
  document.title = `${o.alerts_open ? `(${o.alerts_open}) ` : ""}nightbell${o.demo ? " (demo)" : ""}`;
  $("version").textContent = `nightbell ${o.version}, as ${o.user} (${o.role})`;
  const counts = { alerts: o.alerts_open, approvals: o.safety.pending_approvals, sources: o.sources.unknown };
  for (const [pane, count] of Object.entries(counts)) {
    if ($(`count-${pane}`).textContent === String(count || "")) continue;
    $(`count-${pane}`).textContent = count || "";
    showTab();
  }
  const stopped = o.safety.stopped;
  $("stopped").hidden = !stopped;
  const since = stopped ? new Date(stopped.since).toLocaleString() : "";
  $("stopped").textContent = stopped ? `Emergency stop since ${since} by ${stopped.by}${stopped.reason ? `: ${stopped.reason}` : ""}` : "";
  $("kill").hidden = false;
  $("kill").textContent = stopped ? "Clear the emergency stop" : "Emergency stop";
  $("kill").className = stopped ? "" : "danger";
  const m = o.monitoring;
  const scope = m.project ? `project ${m.project}` : "all configured projects";
  const left = m.seconds_left === null ? "" : `, ${span(m.seconds_left)} left`;
  $("facts").replaceChildren(
    fact("Monitoring", m.enabled ? `on: ${scope}${left}` : "stopped", m.enabled ? "good" : "warning"),
    fact("Sources", [`${o.sources.fresh} fresh`, o.sources.unknown ? `${o.sources.unknown} unknown` : "", o.sources.paused ? `${o.sources.paused} paused` : ""].filter(Boolean).join(", "), o.sources.unknown || !o.sources.fresh ? "warning" : "good"),
    fact("Alerts", `${o.alerts_open} open of ${o.alerts_total}`, o.alerts_open ? "bad" : "good"),
    fact("Jobs", String(o.jobs)),
    fact("Approvals", o.safety.nobody_may_approve ? "nobody may approve: APPROVERS is empty" : `${o.safety.pending_approvals} waiting`, o.safety.nobody_may_approve ? "warning" : ""),
    fact("Actions", `${o.safety.dry_run ? "dry run: told, not done" : "live"}; ${o.safety.used_this_hour} of ${o.safety.per_hour} this hour`),
    fact("Running since", when(o.started)),
  );
  $("monitoring-start").disabled = m.enabled && !m.project && !m.until;
  $("monitoring-stop").disabled = !m.enabled;
  if (state.pane === "overview") {
    const { items } = await get("/alerts?limit=8");
    fill($("newest"), items, (a) => a.id, alertRow, m.enabled ? "No open alert." : "No open alert; but monitoring is stopped.");
  }
}

function alertRow(a) {
  const link = el("a", "", `#${a.number} ${a.job}: ${a.failure}`);
  link.href = `#alert-${a.number}`;
  const tone = a.severity === "critical" || a.severity === "high" ? "bad" : "warning";
  return el("div", "item",
    el("div", "", el("span", `tag ${tone}`, a.severity), " ", link),
    el("div", "meta", `${[a.project || a.namespace, a.state, silence(a)].filter(Boolean).join(" · ")} · `, when(a.opened), a.cause ? ` · ${a.cause}` : ""));
}

/** That nobody is told of an alert now, and why. */
function silence(alert) {
  const silent = alert.state !== "resolved" && alert.silenced_until && new Date(alert.silenced_until) > new Date();
  return silent ? ["silenced", alert.silenced_by].filter(Boolean).join(" by ") : "";
}

// ---- alerts: the messages as any surface shows them ----

async function showAlerts() {
  const resolved = $("alerts-resolved").checked || state.wanted !== null;
  const { items } = await get(`/console/messages?resolved=${resolved}&limit=50`);
  if (state.wanted !== null && !items.some((m) => m.number === state.wanted)) {
    const one = await get(`/alerts/${state.wanted}`).catch(() => null);
    if (one) items.unshift({ subject: `alert:${one.id}`, number: one.number, card: one.card });
  }
  fill($("alerts"), items, (m) => m.subject, renderMessage, "No open alert. What fails while a source is silent does not show here.");
  if (state.wanted !== null) {
    const node = $(`alert-${state.wanted}`);
    document.querySelector(".target")?.classList.remove("target");
    node?.classList.add("target");
    if (node && state.scroll) node.scrollIntoView({ block: "center" });
    state.scroll = false;
  }
}

function renderMessage(message) {
  const node = el("div", "");
  node.id = `alert-${message.number}`;
  const thread = el("div", "thread", ...(state.threads.get(message.subject) || []));
  thread.setAttribute("aria-live", "polite");
  node.append(card(message.card, (button, pressed) => press(button, pressed, (reply) => {
    const replies = [...(state.threads.get(message.subject) || []), reply].slice(-4);
    state.threads.set(message.subject, replies);
    const here = $(node.id)?.querySelector(".thread");
    here?.replaceChildren(...replies);
  })), thread);
  return node;
}

/** Presses a card's button and hands its answer to `reply`. */
async function press(button, pressed, reply) {
  let reason = null;
  const { verb, id } = button.press;
  if (verb === "deny") {
    reason = await confirmWith({ title: button.label, text: button.confirm || "Why not?", yes: "Deny", reason: true, danger: true });
    if (reason === null) return;
  } else if (button.confirm) {
    const sure = await confirmWith({ title: button.label, text: button.confirm, yes: button.label, danger: button.style === "danger" });
    if (sure === null) return;
  }
  pressed.disabled = true;
  try {
    const answer = await post("/console/press", { verb, id, reason: reason || null });
    reply(card(answer.card, (next, node) => press(next, node, reply)));
  } catch (failure) {
    reply(problem(failure));
  } finally {
    pressed.disabled = false;
    refresh(["all"]);
  }
}

function problem(failure) {
  const text = failure instanceof Failure ? failure.message : "something went wrong in this page";
  return el("div", "card bad", el("p", "", text));
}

// ---- approvals ----

async function showApprovals() {
  const { items } = await get("/approvals?limit=50");
  fill($("approvals"), items, (a) => a.id, renderApproval, "Nothing was proposed yet.");
}

function renderApproval(a) {
  const t = a.spec.target;
  const what = `${a.spec.kind.replaceAll("_", " ")}: ${t.system === "kubernetes" ? `${t.kind} ${[t.namespace, t.name].filter(Boolean).join("/")} in ${t.cluster}` : `${t.kind} ${t.project}/${t.name}`}`;
  const tone = { pending: "warning", approved: "good", denied: "bad" }[a.state] || "soft";
  const decided = a.decided_by ? ` by ${a.decided_by}` : "";
  const node = el("div", "item",
    el("div", "", el("span", `tag ${tone}`, `${a.state}${decided}`), " ", el("strong", "", `#${a.number} ${what}`), a.dry_run ? el("span", "soft", " (dry run)") : null),
    el("div", "", a.reason),
    ...a.impact.map((line) => el("div", "meta", line)),
    el("div", "meta", `asked by ${a.requested_by} `, when(a.requested), a.state === "pending" ? ` · runs out ${new Date(a.expires).toLocaleTimeString()}` : "", a.deny_reason ? ` · ${a.deny_reason}` : ""));
  const reply = el("div", "");
  reply.setAttribute("aria-live", "polite");
  if (a.state === "pending") {
    const button = (label, style, verb, confirm) => {
      const b = el("button", style, label);
      b.type = "button";
      b.dataset.key = `${verb}:${a.id}`;
      b.addEventListener("click", () => press({ label, style, confirm, press: { verb, id: a.id } }, b, (said) => reply.replaceChildren(said)));
      return b;
    };
    node.append(el("div", "row", button("Approve", "primary", "approve", `${what}. ${a.dry_run ? "Dry run: told, not done." : "It will be done."}`), button("Deny", "danger", "deny", null)));
  }
  node.append(reply);
  return node;
}

// ---- tables, whose rows become blocks of labelled lines on a phone ----

function row(...cells) {
  const node = el("tr", "", ...cells);
  node.setAttribute("role", "row");
  return node;
}

function cell(label, className, ...children) {
  const node = el("td", className, ...children);
  node.dataset.label = label;
  node.setAttribute("role", "cell");
  return node;
}

// ---- jobs ----

async function showJobs() {
  const form = new FormData($("jobs-filter"));
  const query = new URLSearchParams({ limit: "100" });
  for (const name of ["q", "project", "status"]) if (form.get(name)) query.set(name, form.get(name).trim());
  if (form.get("failing")) query.set("failing", "true");
  const filtered = [...query.keys()].length > 1;
  if (state.jobsCursor) query.set("cursor", state.jobsCursor);
  const { items, next } = await get(`/jobs?${query}`);
  state.jobsNext = next;
  fill($("jobs"), items, (j) => `${j.cluster}/${j.namespace}/${j.name}`, renderJob);
  $("jobs-empty").hidden = items.length > 0;
  $("jobs-empty").textContent = filtered ? "No job fits." : "No job is known yet. See Sources for what is watched.";
  $("jobs-first").hidden = !state.jobsCursor;
  $("jobs-next").hidden = !next;
}

function renderJob(j) {
  const tone = /fail|error|unknown|degraded/i.test(j.status) ? "bad" : /pend|init|creat/i.test(j.status) ? "warning" : "";
  let alert = "";
  if (j.alert !== null) {
    alert = el("a", "", `#${j.alert}`);
    alert.href = `#alert-${j.alert}`;
  }
  const look = el("button", "", "Troubleshoot");
  look.type = "button";
  look.dataset.key = `look:${j.cluster}/${j.namespace}/${j.name}`;
  look.setAttribute("aria-label", `Troubleshoot ${j.name}`);
  look.addEventListener("click", async () => {
    look.disabled = true;
    $("job-answer").replaceChildren(el("p", "hint", `Collecting evidence on ${j.name} …`));
    try {
      const answer = await post("/commands", { command: "troubleshoot", job: { name: j.name, project: j.project, namespace: j.namespace } });
      $("job-answer").replaceChildren(card(answer.card, (button, node) => press(button, node, (said) => $("job-answer").append(said))));
    } catch (failure) {
      $("job-answer").replaceChildren(problem(failure));
    }
    look.disabled = false;
    $("job-answer").scrollIntoView({ block: "nearest" });
  });
  return row(
    cell("", "", el("div", "", el("strong", "", ...breakable(j.name)), el("div", "soft", ...breakable(`${j.kind} · ${j.cluster}/${j.namespace}`)))),
    cell("Project", "", ...breakable(j.project || "–")), cell("Status", tone, ...breakable(j.status)), cell("Pods", "", `${j.pods_running}/${j.pods}`),
    cell("GPUs", "", j.gpus ? String(j.gpus) : "–"), cell("Age", "", j.created ? when(j.created) : "–"),
    cell("Alert", alert ? "" : "none", alert), cell("", "", look));
}

// ---- sources ----

async function showSources() {
  const { items } = await get("/sources");
  const words = { fresh: ["good", "fresh"], late: ["warning", "late: what it would tell is unknown"], failing: ["bad", "failing: what it would tell is unknown"], never_seen: ["warning", "never heard: nothing is known"], paused: ["soft", "paused by command"] };
  fill($("sources"), items, (s) => s.source, (s) => {
    const [tone, text] = words[s.health] || ["warning", s.health];
    return el("div", "item",
      el("div", "", el("span", `tag ${tone}`, text), " ", el("strong", "", s.source)),
      el("div", "meta", s.last_success ? el("span", "", "last success ", when(s.last_success)) : "no success yet", ` · every ${span(s.interval_seconds)} · ${s.objects} objects · ${s.errors} errors`, s.lag_ms === null ? "" : ` · lag ${span(s.lag_ms / 1000)}`),
      s.error ? el("div", "bad", s.error) : null);
  }, "No source is configured: nothing is watched. Set Run:AI or Kubernetes credentials, or run the demo.");
}

// ---- console ----

function showTalk(node) {
  $("talk").append(node);
  node.scrollIntoView({ block: "nearest" });
}

async function say(text) {
  showTalk(el("div", "said", text));
  const waiting = el("p", "hint", "…");
  showTalk(waiting);
  try {
    const answer = await post("/console/say", { text, context: state.context });
    state.context = [...state.context, text].slice(-10);
    showTalk(card(answer.card, (button, node) => press(button, node, showTalk)));
  } catch (failure) {
    showTalk(problem(failure));
  }
  waiting.remove();
  refresh(["all"]);
}

// ---- audit ----

async function showAudit() {
  const { head } = await get("/audit?limit=1");
  const { items } = await get(`/audit?limit=100&cursor=${Math.max(0, head - 100)}`);
  items.reverse();
  fill($("audit"), items, (e) => String(e.seq), (e) => {
    const spec = e.content?.spec ?? e.content?.action ?? e.content;
    const about = spec?.target?.name ? `${spec.kind} ${spec.target.name}` : (e.content?.reason ?? e.subject);
    return row(cell("No.", "", String(e.seq)), cell("When", "", when(e.at)), cell("What", "", e.kind.replaceAll("_", " ")), cell("Who", "", ...breakable(e.actor)), cell("About", "", ...breakable(String(about))));
  });
  $("audit-empty").hidden = items.length > 0;
}

// ---- keeping up ----

const SHOW = { alerts: showAlerts, approvals: showApprovals, jobs: showJobs, sources: showSources, audit: showAudit };
let running = null;
let again = false;

/** Reads what the open pane shows. One reading at a time; a wish meanwhile is one more reading. */
async function refresh(changed) {
  if (running) {
    again = true;
    return running;
  }
  running = (async () => {
    do {
      again = false;
      try {
        await showOverview();
        const show = SHOW[state.pane];
        if (show && (changed.includes("all") || changed.includes(state.pane) || state.pane === "alerts")) await show();
        lost(false);
      } catch (failure) {
        lost(true, failure);
      }
      changed = ["all"];
    } while (again);
  })();
  await running;
  running = null;
}

let lostSince = null;
function lost(isLost, failure) {
  if (!isLost) lostSince = null;
  else lostSince ??= new Date();
  $("lost").hidden = !isLost;
  const why = failure instanceof Failure && failure.status ? `nightbell answered: ${failure.message}` : "nightbell does not answer";
  $("lost").textContent = isLost ? `${why}. What you see is from before ${lostSince.toLocaleTimeString()}.` : "";
  if (isLost) {
    $("state").className = "warning";
    $("state").textContent = "Unknown: no word from nightbell";
  }
}

/** Scrolls the open pane's tab into view where the tabs are wider than the screen; the page stays where it is. */
function showTab() {
  const nav = document.querySelector("nav");
  const tab = nav.querySelector("[aria-current]").getBoundingClientRect();
  const bar = nav.getBoundingClientRect();
  if (tab.left < bar.left) nav.scrollLeft += tab.left - bar.left - 40;
  else if (tab.right > bar.right) nav.scrollLeft += tab.right - bar.right + 40;
}

function route() {
  const hash = location.hash.slice(1);
  const alert = /^alert-(\d+)$/.exec(hash);
  if (hash === "main") return;
  state.wanted = alert ? Number(alert[1]) : null;
  state.scroll = alert !== null;
  state.pane = alert ? "alerts" : PANES.includes(hash) ? hash : "overview";
  for (const pane of PANES) $(`pane-${pane}`).hidden = pane !== state.pane;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${state.pane}`) {
      link.setAttribute("aria-current", "page");
    } else link.removeAttribute("aria-current");
  }
  showTab();
  if (state.pane === "console") $("say").elements.text.focus();
  refresh(["all"]);
}

async function attempt(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (failure) {
    await confirmWith({ title: "That did not work", text: failure.message, yes: "OK" });
  }
  button.disabled = false;
  refresh(["all"]);
}

$("kill").addEventListener("click", async () => {
  const stopped = state.overview?.safety.stopped;
  const asked = stopped
    ? { title: "Clear the emergency stop?", text: "Actions can be carried out again.", yes: "Clear" }
    : { title: "Stop all actions?", text: "No action starts after this, on any replica, until it is cleared. Watching and alerting go on.", yes: "Stop all actions", reason: true, danger: true };
  const reason = await confirmWith(asked);
  if (reason === null) return;
  attempt($("kill"), () => stopped ? remove("/emergency-stop") : post("/emergency-stop", { reason: reason || null }));
});
$("monitoring-start").addEventListener("click", () => attempt($("monitoring-start"), () => post("/monitoring/start", {})));
$("monitoring-stop").addEventListener("click", async () => {
  const sure = await confirmWith({ title: "Stop monitoring?", text: "Failures are not noticed until it is started again.", yes: "Stop monitoring", danger: true });
  if (sure !== null) attempt($("monitoring-stop"), () => post("/monitoring/stop", {}));
});
$("alerts-resolved").addEventListener("change", () => refresh(["all"]));
let typing;
$("jobs-filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.jobsCursor = null; refresh(["all"]); }, 250);
});
$("jobs-filter").addEventListener("submit", (event) => event.preventDefault());
$("jobs-next").addEventListener("click", () => { state.jobsCursor = state.jobsNext; refresh(["all"]); });
$("jobs-first").addEventListener("click", () => { state.jobsCursor = null; refresh(["all"]); });
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("say").elements.text.value.trim();
  if (!text) return;
  $("say").elements.text.value = "";
  say(text);
});
addEventListener("hashchange", route);
route();
setInterval(() => { if (!document.hidden) refresh(["all"]); }, POLL_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(["all"]); });
listen((changed) => { if (!document.hidden) refresh(changed); }, () => {});
