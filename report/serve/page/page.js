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

function drawStates() {
  const newest = points[points.length - 1];
  const most = {};
  for (const p of points) {
    for (const [state, n] of Object.entries(p.states)) most[state] = Math.max(most[state] || 0, n);
  }
  const top = Math.max(1, ...Object.values(most));
  const from = points[0].t, span = Math.max(newest.t - from, 1);
  at("chart").replaceChildren();
  const body = at("states").tBodies[0];
  body.replaceChildren();
  for (const state of Object.keys(lines)) {
    if (!(state in most)) continue;
    const d = points.map((p, i) =>
      (i ? "L" : "M") + (900 * (p.t - from) / span).toFixed(1) + " " + (198 - 196 * (p.states[state] || 0) / top).toFixed(1));
    path(at("chart"), state, d.join(""));
    const row = make(body, "tr");
    make(row, "td", state);
    const sample = document.createElementNS(svg, "svg");
    make(row, "td").append(sample);
    path(sample, state, "M0 5L60 5");
    for (const n of [newest.states[state] || 0, most[state]]) make(row, "td", n).className = "number";
  }
  at("caption").textContent = "Ends of connections by state, over the last " + Math.round(span / 1000) + " s; the top is " + top;
}

let seen = null; // numbers of the connections that were shown

function drawTable(t) {
  at("time").textContent = t.time;
  at("totals").textContent = t.totals;
  at("shown").textContent = t.rows.length < t.all ? t.rows.length + " of " + t.all + " connections are shown." : "";
  const head = document.createElement("tr");
  for (const title of t.titles) make(head, "th", title);
  at("connections").tHead.replaceChildren(head);
  const number = t.titles.indexOf("Conn");
  const body = document.createDocumentFragment();
  const shown = new Set();
  for (const cells of t.rows) {
    const row = make(body, "tr");
    for (const cell of cells) make(row, "td", cell);
    shown.add(cells[number]);
    if (seen && !seen.has(cells[number])) row.className = "new";
  }
  seen = shown;
  at("connections").tBodies[0].replaceChildren(body);
}

const events = new EventSource("events");
events.addEventListener("open", () => { at("link").textContent = "live"; });
events.addEventListener("error", () => { at("link").textContent = "no connection; trying again"; });
events.addEventListener("points", (e) => {
  points = points.concat(JSON.parse(e.data).filter((p) => !points.length || p.t > points[points.length - 1].t)).slice(-kept);
  if (points.length) drawStates();
});
events.addEventListener("table", (e) => drawTable(JSON.parse(e.data)));
