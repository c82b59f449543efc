"use strict";

// Everything that is shown is set as text, never as markup.

const svg = "http://www.w3.org/2000/svg";
const kept = 600; // points, as the server keeps
const at = (id) => document.getElementById(id);

// How the line of each state is drawn: a colour and a pattern, so that colour
// alone tells nothing.
const lines = {
  LISTEN: ["#888888", "1 3"], SYN_SENT: ["#0a8ea0", "6 3"], SYN_RCVD: ["#0a8ea0", "2 2"],
  ESTABLISHED: ["#2a9d3a", ""], FIN_WAIT_1: ["#b8860b", "8 2"], FIN_WAIT_2: ["#b8860b", "8 2 2 2"],
  CLOSE_WAIT: ["#d03030", "10 4"], CLOSING: ["#b8860b", "2 4"], LAST_ACK: ["#b8860b", "4 4"],
  TIME_WAIT: ["#c06000", "12 3 3 3"], CLOSED: ["#888888", "3 6"], UNKNOWN: ["#a040a0", "1 2"],
};

let points = [];

function make(parent, name, text) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

function path(parent, state, d) {
  const p = document.createElementNS(svg, "path");
  const [colour, pattern] = lines[state] || ["currentColor", ""];
  p.setAttribute("d", d);
  p.setAttribute("stroke", colour);
  p.setAttribute("stroke-dasharray", pattern);
  parent.append(p);
}

// These pile up: they have a picture with a scale of its own, or the others would lie
// on the ground.
const piles = ["TIME_WAIT", "CLOSED"];

// drawChart draws the lines of states, and returns the number at its top.
function drawChart(chart, states, most) {
  const top = Math.max(1, ...states.map((state) => most[state]));
  const from = points[0].t, span = Math.max(points[points.length - 1].t - from, 1);
  const height = chart.viewBox.baseVal.height - 4;
  chart.replaceChildren();
  for (const state of states) {
    path(chart, state, points.map((p, i) =>
      (i ? "L" : "M") + (900 * (p.t - from) / span).toFixed(1) + " " + (height + 2 - height * (p.states[state] || 0) / top).toFixed(1)).join(""));
  }
  return top;
}

function drawStates() {
  const newest = points[points.length - 1];
  const most = {};
  for (const p of points) {
    for (const [state, n] of Object.entries(p.states)) most[state] = Math.max(most[state] || 0, n);
  }
  const present = Object.keys(lines).filter((state) => state in most);
  const over = "over the last " + Math.round(Math.max(newest.t - points[0].t, 1) / 1000) + " s; the top is ";
  const few = present.filter((state) => !piles.includes(state)), rest = present.filter((state) => piles.includes(state));
  at("caption").textContent = "Ends of connections by state" + (rest.length ? ", except " + rest.join(" and ") : "") + ", " + over + drawChart(at("chart"), few, most);
  at("rest").hidden = !rest.length;
  at("rest-caption").textContent = "Ends in " + rest.join(" and ") + ", " + over + drawChart(at("rest-chart"), rest, most) + ", with its own scale";
  const body = at("states").tBodies[0];
  body.replaceChildren();
  for (const state of present) {
    const row = make(body, "tr");
    make(row, "td", state);
    const sample = document.createElementNS(svg, "svg");
    make(row, "td").append(sample);
    path(sample, state, "M0 5L60 5");
    for (const n of [newest.states[state] || 0, most[state]]) make(row, "td", n).className = "number";
  }
}

function link(parent, conn) {
  const a = make(parent, "a", conn);
  a.href = "#conn=" + conn;
}

function drawTitles(table, titles) {
  const head = document.createElement("tr");
  for (const title of titles) make(head, "th", title).scope = "col";
  table.tHead.replaceChildren(head);
}

function drawGrid(table, grid) {
  drawTitles(table, grid.titles);
  const body = document.createDocumentFragment();
  for (const cells of grid.rows) {
    const row = make(body, "tr");
    for (const cell of cells) make(row, "td", cell);
  }
  table.tBodies[0].replaceChildren(body);
}

function drawFindings(list) {
  at("none").hidden = list.length > 0;
  at("findings").hidden = !list.length;
  drawTitles(at("findings"), ["Severity", "Kind", "Service", "Times", "Newest", "Certainty", "Cause", "Connections"]);
  const body = document.createDocumentFragment();
  for (const f of list) {
    const row = make(body, "tr");
    for (const cell of f.cells) make(row, "td", cell);
    const conns = make(row, "td");
    for (const conn of f.conns.slice(0, 3)) {
      link(conns, conn);
      conns.append(" ");
    }
    const text = make(make(body, "tr"), "td", f.text);
    text.className = "text";
    text.colSpan = f.cells.length + 1;
  }
  at("findings").tBodies[0].replaceChildren(body);
}

let seen = null; // numbers of the connections that were shown
let open = 0; // the connection whose ladder is open; 0: none

function drawTable(t) {
  at("time").textContent = t.time;
  at("alarm").textContent = t.alarm;
  at("alarm").className = /^0 errors, 0 /.test(t.alarm) ? "" : "bad";
  at("totals").textContent = t.totals;
  drawFindings(t.findings);
  drawGrid(at("services"), t.services);
  at("more").textContent = t.more ? "and " + t.more + " more" : "";
  at("shown").textContent = t.rows.length < t.all ? t.rows.length + " of " + t.all + " rows are shown." : words() ? t.all + (t.all === 1 ? " row" : " rows") : "";
  drawTitles(at("connections"), t.titles);
  const number = t.titles.indexOf("Conn");
  const body = document.createDocumentFragment();
  const shown = new Set();
  for (const cells of t.rows) {
    const row = make(body, "tr");
    cells.forEach((cell, i) => { if (i === number) link(make(row, "td"), cell); else make(row, "td", cell); });
    shown.add(cells[number]);
    if (cells[number] === String(open)) row.className = "open";
    else if (seen && !seen.has(cells[number])) row.className = "new";
  }
  seen = shown;
  at("connections").tBodies[0].replaceChildren(body);
}

// A connection: what is last known of it stays when it is over.

async function drawConn() {
  const conn = open;
  if (!conn) return;
  let known = null, problem = "";
  try {
    const answer = await fetch("conn/" + conn);
    if (answer.ok) known = await answer.json();
    else problem = await answer.text();
  } catch {
    problem = "no answer; trying again";
  }
  if (conn !== open) return;
  if (!known) {
    at("conn-since").textContent = problem;
    return;
  }
  at("conn-heading").textContent = known.heading;
  at("conn-since").textContent = known.since;
  drawGrid(at("history"), known.history);
  at("ladder").textContent = known.ladder;
}

function followHash() {
  const m = /^#conn=(\d+)$/.exec(location.hash);
  const before = open;
  open = m ? Number(m[1]) : 0;
  at("conn").hidden = !open;
  if (!open || open === before) return;
  at("conn-title").textContent = "Connection " + open;
  at("conn-heading").textContent = at("conn-since").textContent = at("ladder").textContent = "";
  drawGrid(at("history"), {titles: [], rows: []});
  at("conn").scrollIntoView();
  at("conn-title").focus({preventScroll: true});
  drawConn();
}

// The events. The server sends rows that hold the words of the filter.

const words = () => at("match").value.trim();
let events = null;

function follow() {
  if (events) events.close();
  events = new EventSource("events" + (words() ? "?match=" + encodeURIComponent(words()) : ""));
  seen = null;
  events.addEventListener("open", () => { at("link").textContent = "live"; });
  events.addEventListener("error", () => { at("link").textContent = "no connection; trying again"; });
  events.addEventListener("points", (e) => {
    points = points.concat(JSON.parse(e.data).filter((p) => !points.length || p.t > points[points.length - 1].t)).slice(-kept);
    if (points.length) drawStates();
  });
  events.addEventListener("table", (e) => {
    drawTable(JSON.parse(e.data));
    drawConn();
  });
}

let typing = 0;
at("match").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(follow, 200);
});
at("filter").addEventListener("submit", (e) => e.preventDefault());
window.addEventListener("hashchange", followHash);
followHash();
follow();
