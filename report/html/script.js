'use strict';
// Draws the table, the timelines and the ladders of a report from the data in
// the page. Text is only ever set as text, never as markup.
(() => {
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);

// Elements.

function fill(e, attrs, children) {
	for (const name in attrs) {
		if (name === 'onclick') e.addEventListener('click', attrs[name]);
		else if (attrs[name] !== undefined) e.setAttribute(name, attrs[name]);
	}
	e.append(...children);
	return e;
}
const el = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);
const svg = (tag, attrs, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attrs, children);

// Text.

const thousands = n => String(n).replace(/\B(?=(\d{3})+$)/g, ',');

function human(us) {
	const short = (n, unit) => String(+n.toFixed(n < 9.995 ? 2 : n < 99.95 ? 1 : 0)) + unit;
	const pair = (n, big, a, small, b) => Math.floor(n / big) + a + String(Math.floor(n % big / small)).padStart(2, '0') + b;
	const s = us / 1e6;
	if (us === 0) return '0s';
	if (us < 1e3) return short(us, 'us');
	if (s < 1) return short(us / 1e3, 'ms');
	if (s < 60) return short(s, 's');
	if (s < 3600) return pair(s, 60, 'm', 1, 's');
	if (s < 86400) return pair(s, 3600, 'h', 60, 'm');
	return pair(s, 86400, 'd', 3600, 'h');
}

// squeezed has a text that would be cut drawn in the room that there is; size is about
// what a letter of it takes.
const squeezed = (text, size, room) => text.length * size > room ? {textLength: room, lengthAdjust: 'spacingAndGlyphs'} : {};

const seconds = us => (us / 1e6).toFixed(6);

// Connections: rowScript of rows.go stands here.

function stateCell(end) {
	return el('span', {}, el('i', {class: 'swatch s-' + end.state + (end.assumed ? ' assumed' : '')}), ' ' + end.mark,
		end.more ? el('span', {class: 'possible'}, end.more) : '');
}

const perPage = 50;
let sorted = {column: null, down: false}, shown = all, page = 0, open = null;

function filter() {
	const words = byId('f-text').value.toLowerCase().split(/\s+/).filter(w => w);
	const host = byId('f-host').value.trim().toLowerCase(), state = byId('f-state').value, kind = byId('f-kind').value;
	const at = end => host.startsWith(':') ? end.addr.endsWith(host) : end.label.toLowerCase().includes(host);
	shown = all.filter(c =>
		(!host || at(c.client) || at(c.server)) &&
		(!state || (state === '?' ? c.client.more || c.server.more : c.client.state === state || c.server.state === state)) &&
		(!kind || (kind === '*' ? c.kinds.length > 0 : c.kinds.includes(kind))) &&
		words.every(w => (c.words ??= columns.map(k => textOf(k, c)).join('\n').toLowerCase()).includes(w)));
	if (sorted.column) {
		const key = sorted.column.key, sign = sorted.down ? -1 : 1;
		const keys = new Map(shown.map(c => [c, key(c)]));
		const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
		shown.sort((a, b) => sign * compare(keys.get(a), keys.get(b)) || a.conn - b.conn);
	}
	page = 0;
	showPage();
}

function sortBy(column) {
	sorted = {column, down: sorted.column === column && !sorted.down};
	for (const [i, th] of [...byId('table').tHead.rows[0].cells].entries()) {
		const mine = columns[i] === column;
		if (mine) th.setAttribute('aria-sort', sorted.down ? 'descending' : 'ascending');
		else th.removeAttribute('aria-sort');
		th.querySelector('span').textContent = mine ? (sorted.down ? ' ▼' : ' ▲') : '';
	}
	filter();
}

function showPage() {
	const pages = Math.max(1, Math.ceil(shown.length / perPage));
	page = Math.min(Math.max(page, 0), pages - 1);
	const list = shown.slice(page * perPage, (page + 1) * perPage);
	byId('table').tBodies[0].replaceChildren(...list.map(c => el('tr', {'data-conn': c.conn},
		...columns.map((k, i) => el(i ? 'td' : 'th', {scope: i ? undefined : 'row', class: k.n ? 'n' : k.wrap ? 'wrap' : undefined},
			k.cell ? k.cell(c) : textOf(k, c))))));
	byId('status').textContent = shown.length === all.length ? thousands(all.length) + (all.length === 1 ? ' connection' : ' connections')
		: thousands(shown.length) + ' of ' + thousands(all.length) + ' connections';
	byId('p-at').textContent = 'Page ' + thousands(page + 1) + ' of ' + thousands(pages) +
		(pages > 1 ? ': ' + thousands(page * perPage + 1) + ' to ' + thousands(page * perPage + list.length) : '');
	byId('p-first').disabled = byId('p-prev').disabled = page === 0;
	byId('p-last').disabled = byId('p-next').disabled = page === pages - 1;
	markOpen();
	showTimelines(list);
}

// markOpen marks the connection whose ladder is shown.
function markOpen() {
	for (const tr of byId('table').tBodies[0].rows) {
		const mine = tr.dataset.conn === String(open);
		tr.className = mine ? 'open' : '';
		tr.querySelector('a').ariaCurrent = mine ? 'true' : null;
	}
}

// Timelines.

// Where lanes stand: their names are beside them, or, on a small screen, above.
const wideLanes = {left: 330, width: 850, all: 1200, names: 0, row: 42};
const narrowLanes = {left: 10, width: 460, all: 480, names: 30, row: 76};
const small = matchMedia('(max-width: 700px)');
let lanes = wideLanes;
const laneHeight = 14;

// fit chooses what has room on the screen.
function fit() { lanes = small.matches ? narrowLanes : wideLanes; }

// names writes whose lanes they are.
function names(c, y, number) {
	const client = (number ? c.conn + '  ' : '') + 'client ' + c.client.addr, server = 'server ' + c.server.addr;
	const text = (x, y, anchor, what, room) => svg('text', {x, y, 'text-anchor': anchor, class: 'small', ...squeezed(what, 7, room)}, what);
	return lanes.names ? [text(lanes.left, y + 12, 'start', client, lanes.width), text(lanes.left, y + 26, 'start', server, lanes.width)]
		: [text(lanes.left - 8, y + 19, 'end', client, lanes.left - 12), text(lanes.left - 8, y + 35, 'end', server, lanes.left - 12)];
}

// lane draws the states of one end from x on; scale takes microseconds of the
// connection to pixels.
function lane(end, name, y, scale, until) {
	const g = svg('g', {}), list = steps(end);
	let last = until;
	list.forEach((s, i) => {
		const x1 = scale(s.at), x2 = i + 1 < list.length ? scale(list[i + 1].at) : until;
		const width = Math.max(x2 - x1, 0.8), over = s.state === 'CLOSED' && i === list.length - 1;
		const title = name + ' ' + stepText(s) + ' from +' + seconds(s.at) + ': ' + s.event;
		const box = {x: x1, y: over ? y + laneHeight / 2 - 1.5 : y, width, height: over ? 3 : laneHeight};
		if (over) last = x1;
		g.append(svg('rect', {...box, class: 'lane s-' + s.state}, svg('title', {}, title)));
		if (s.assumed) g.append(svg('rect', {...box, fill: 'url(#hatch)', 'pointer-events': 'none'}));
		if (width > 8 * stepText(s).length + 6 && !over) {
			g.append(svg('text', {x: x1 + 4, y: y + 11, class: 'lane-label t-' + s.state}, stepText(s)));
		}
	});
	if (list.length) g.append(edge({x: scale(list[0].at), y, width: last - scale(list[0].at), height: laneHeight}));
	return g;
}

// edge is drawn around a lane, for the pale states are hard to tell from the
// page.
const edge = box => svg('rect', {...box, class: 'edge', 'pointer-events': 'none'});

// timeline draws both ends of a connection, and its anomalies as marks.
function timeline(c, y, scale, until) {
	const g = svg('g', {}, lane(c.client, 'client', y + 8, scale, until), lane(c.server, 'server', y + 24, scale, until));
	for (const a of c.odd) {
		const x = scale(a.at);
		if (x >= lanes.left - 1 && x <= lanes.left + lanes.width + 1) {
			g.append(svg('path', {class: 'mark', d: `M${x} ${y + 9}l-5 -9h10Z`}, svg('title', {}, a.kind + ' at +' + seconds(a.at))));
		}
	}
	return g;
}

// axis draws a time axis from one microsecond to another.
function axis(from, to, y, height) {
	const g = svg('g', {}), raw = (to - from) * 150 / lanes.width;
	const power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw);
	for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
		const x = lanes.left + (t - from) / (to - from) * lanes.width;
		const text = '+' + human(Math.round(t)), half = text.length * 4.5; // at an edge it stands inside
		g.append(svg('path', {class: 'grid', d: `M${x} ${y}v${height}`}),
			svg('text', {class: 'tick', x: Math.min(Math.max(x, half), lanes.all - half), y: y - 4, 'text-anchor': 'middle'}, text));
	}
	return g;
}

// ways draws, on the time axis of a connection, how long the segments of each direction
// were under way between the captures, and which were lost; null where one capture has
// both ends. Of segments that are less than three pixels apart the slowest is drawn.
function ways(c, l, scale, y) {
	const came = new Map(l.rows.filter(r => r.g === 2).map(r => [r.n, r.t]));
	const sent = l.rows.filter(r => r.g === 1).map(r => ({...r, took: came.has(r.n) ? came.get(r.n) - r.t : -1}));
	if (!sent.length) return null;
	const most = Math.max(...sent.map(r => r.took), 1), height = 30, g = svg('g', {});
	for (const end of ['client', 'server']) {
		const list = sent.filter(r => (r.d ? 1 : 0) === (end === 'client' ? l.left : 1 - l.left)), took = list.map(r => r.took).filter(t => t >= 0);
		const lost = list.filter(r => r.l === 1), line = y + height;
		const span = !took.length ? '' : ', ' + human(Math.min(...took)) + ' to ' + human(Math.max(...took)) + ' under way';
		const words = `from the ${end}: ${thousands(list.length)} sent${lost.length ? ', ' + thousands(lost.length) + ' lost' : ''}${span}`;
		const columns = new Map();
		for (const r of list.filter(r => r.took >= 0)) {
			const x = 3 * Math.round(scale(r.t) / 3);
			columns.set(x, Math.max(columns.get(x) || 0, r.took));
		}
		g.append(svg('path', {class: 'grid', d: `M${lanes.left} ${line}h${lanes.width}`}),
			svg('path', {class: 'delay', d: [...columns].map(([x, us]) => `M${x} ${line}v${-Math.max(us / most * (height - 8), 1)}`).join('')}, svg('title', {}, words)),
			svg('path', {class: 'cross', d: lost.map(r => `M${scale(r.t) - 5} ${line - 12}l10 10m0 -10l-10 10`).join('')}, svg('title', {}, words)),
			lanes.names ? svg('text', {x: lanes.left, y: line + 13, class: 'small', ...squeezed(words, 7, lanes.width)}, words)
				: svg('text', {x: lanes.left - 8, y: line - 4, 'text-anchor': 'end', class: 'small', ...squeezed(words, 7, lanes.left - 12)}, words));
		y = line + (lanes.names ? 18 : 6);
	}
	return {picture: g, height: y};
}

function showTimelines(list) {
	if (!list.length) return byId('timelines').replaceChildren();
	let from = 0, to = data.span;
	if (document.querySelector('input[name=axis]:checked').value === 'page') {
		from = Math.min(...list.map(c => c.start));
		to = Math.max(...list.map(c => c.start + Math.max(c.span, ...[c.client, c.server].flatMap(steps).map(s => s.at))));
		to += (to - from) * 0.03;
	}
	to = Math.max(to, from + 1);
	const height = lanes.row, picture = svg('svg', {viewBox: `0 0 ${lanes.all} ${30 + height * list.length}`, width: lanes.all, height: 30 + height * list.length,
		class: 'timelines', role: 'group', 'aria-label': 'Timelines of ' + list.length + ' connections', 'data-cuts': list.map((_, i) => 21 + height * i).join(' ')});
	picture.append(axis(from, to, 20, height * list.length));
	list.forEach((c, i) => {
		const y = 22 + height * i, scale = us => lanes.left + (c.start + us - from) / (to - from) * lanes.width;
		const words = 'conn ' + c.conn + ', client ' + c.client.addr + ': ' + steps(c.client).map(stepText).join(', ') +
			'; server ' + c.server.addr + ': ' + steps(c.server).map(stepText).join(', ') + (c.kinds.length ? '; ' + c.kinds.join(', ') : '');
		picture.append(svg('a', {href: '#conn=' + c.conn, class: 'line-link', 'aria-label': words}, ...names(c, y, true)));
		const until = Math.min(Math.max(scale(data.span - c.start), lanes.left), lanes.left + lanes.width);
		picture.append(timeline(c, y + lanes.names, scale, until));
	});
	byId('timelines').replaceChildren(picture);
}

// Ladders.

// Where things stand in a ladder: what a segment means is beside it, or, on a
// small screen, under it.
const wideLadder = {time: 74, frame: 116, stateL: 250, left: 258, right: 720, lane: 14, stateR: 742, flags: 866, width: 1200, rung: 38, beside: true};
const narrowLadder = {frame: 34, stateL: 138, left: 144, right: 356, lane: 14, stateR: 376, flags: 166, width: 496, rung: 54, beside: false};
const slants = {even: 16, scale: 5}; // by which an arrow falls; no rung is nearer to the next
const ends = ['gives up', 'aborts', 'has no connection'];
const endings = {
	client: 'closed by the client', server: 'closed by the server', both: 'closed by both at the same time',
	'client-reset': 'reset by the client', 'server-reset': 'reset by the server', timeout: 'timed out',
};

// roomFor moves all that stands to the right of the numbers of frames, where these are
// long.
function roomFor(X, l) {
	const digits = Math.max(...l.rows.map(r => String(r.n || '').length)), by = Math.max(0, 7.7 * digits + 14 - X.frame + (X.time || 0));
	const moved = {...X};
	for (const name of ['frame', 'stateL', 'left', 'right', 'stateR', 'flags', 'width']) moved[name] += by;
	return moved;
}

// places returns the vertical position of every rung.
function places(X, l, toScale) {
	let y = 64;
	if (!toScale) {
		return l.rows.map((r, i) => {
			const at = y, lines = (r.a || []).length + (r.w ? 1 : 0);
			const deeds = r.m ? 14 : 0;
			y += r.k === 2 ? 44 : X.beside ? Math.max(X.rung + deeds, 22 * lines + 8) : X.rung + Math.max(deeds, 22 * lines);
			return at;
		});
	}
	const first = l.rows[0].t, span = Math.max(l.rows[l.rows.length - 1].t - first, 1);
	const height = Math.min(Math.max(38 * l.rows.length, 420), 4000);
	let before = y - slants.scale;
	return l.rows.map(r => before = Math.max(before + slants.scale, y + (r.t - first) / span * height));
}

// comesAt returns how far below its own rung the rung is where a segment comes that
// another capture has there, by the positions of the rungs; else the usual slant.
function comesAt(l, i, ys, slant) {
	if (l.rows[i].g !== 1) return slant;
	const j = l.rows.findIndex((r, k) => k > i && r.g === 2 && r.n === l.rows[i].n);
	return j < 0 ? slant : ys[j] - ys[i];
}

// arrow draws a segment from one lane to the other.
function arrow(X, r, y, slant, forged) {
	if (r.g === 2) return svg('g', {}); // drawn from where it left
	const [from, to] = r.d ? [X.right, X.left + X.lane] : [X.left + X.lane, X.right];
	const at = share => [from + (to - from) * share, y + slant * share];
	const line = (a, b, kind, head) => {
		const [x1, y1] = at(a), [x2, y2] = at(b);
		return svg('path', {class: 'arrow ' + kind, d: `M${x1} ${y1}L${x2} ${y2}`, 'marker-end': head ? `url(#${head})` : undefined});
	};
	const rst = /RST/.test(r.f || '') || r.f === 'ICMP', head = rst ? 'head-rst' : 'head', kind = rst ? 'rst' : '';
	const g = svg('g', {});
	if (r.k === 3) g.append(line(0.4, 1, 'gap', 'head-rst'));
	else if (forged) { // nobody knows where it came from
		const [x, cy] = at(0.3);
		g.append(line(0.3, 1, kind, head));
		if (r.g > 2) g.append(svg('path', {class: 'bolt', d: `M${x + 4} ${cy - 14}l-8 12h6l-4 12l10 -15h-6z`}));
	}
	else if (r.l === 1) {
		const [x, cy] = at(0.78);
		g.append(line(0, 0.78, 'missed'), line(0.8, 1, 'rest'), svg('path', {class: 'cross', d: `M${x - 8} ${cy - 8}l16 16m0 -16l-16 16`}));
	} else if (r.l === 2) {
		const [x, cy] = at(0.86);
		g.append(line(0, 1, 'unanswered', 'head-rst'), svg('circle', {class: 'disc', cx: x, cy, r: 10}),
			svg('text', {x, y: cy + 5, 'text-anchor': 'middle', class: 'doubt'}, '?'));
	} else g.append(line(0, 1, kind, head));
	return g;
}

// fateText says what a broken or dashed arrow means, in short or in full.
function fateText(r, short) {
	if (r.k === 3) return r.b ? `#${r.b} carries them` : 'they were never captured';
	if (r.l === 1 && r.g) return r.w;
	if (r.l === 1) return 'lost, or late: ' + (short ? `#${r.b} shows it` : r.w);
	return r.w || '';
}

const flagsText = r => (r.f || '').replaceAll(',', ' ');

function drawLadder(c, l, toScale) {
	const X = roomFor(small.matches ? narrowLadder : wideLadder, l), slant = toScale ? slants.scale : slants.even, ys = places(X, l, toScale), bottom = ys[ys.length - 1] + 64, g = svg('g', {});
	const leftEnd = l.left === 0 ? 'client' : 'server', rightEnd = l.left === 0 ? 'server' : 'client';
	const lost = l.rows.filter(r => r.l === 1).length;
	const title = `Ladder of connection ${c.conn}, ${c[leftEnd].addr} on the left, ${c[rightEnd].addr} on the right: ${l.rows.length} rows` +
		(lost ? `, ${lost} of them lost or late` : '') + '. The same follows as a table.';
	const middle = (X.left + X.lane + X.right) / 2;
	const beside = [[], []]; // what is written beside the lanes
	// The lanes: the states as known at the end, from the frames that moved them.
	for (const [side, name] of [[0, leftEnd], [1, rightEnd]]) {
		const x = side ? X.right : X.left, list = steps(c[name]);
		let before = 0;
		const spots = list.map(s => {
			let i = s.packet ? l.rows.findIndex(r => r.n === s.packet && (!r.g || (r.g === 1) === ((r.d ? 1 : 0) === side))) : l.rows.findIndex(r => r.k === 1 && Math.abs(r.t - s.at) < 2);
			if (i < 0) i = l.rows.findIndex(r => r.t >= s.at);
			const y = i < 0 ? bottom - 20 : ys[i] + (l.rows[i].k === undefined && l.rows[i].g !== 2 && l.rows[i].d !== undefined !== (side === 1) ? slant : 0);
			return before = Math.max(y, before);
		});
		g.append(svg('rect', {x, y: 50, width: X.lane, height: bottom - 50, class: 'lane s-' + (list.length ? 'LISTEN' : c[name].state)}));
		if (!list.length) beside[side].push({y: 69, text: c[name].mark, kind: 'state', must: true});
		let lowest = bottom;
		list.forEach((s, i) => {
			const y1 = spots[i], y2 = i + 1 < list.length ? spots[i + 1] : bottom, over = s.state === 'CLOSED' && i === list.length - 1;
			const box = {x: over ? x + X.lane / 2 - 1.5 : x, y: y1, width: over ? 3 : X.lane, height: Math.max(y2 - y1, 1)};
			if (over) {
				g.append(svg('rect', {x, y: y1, width: X.lane, height: bottom - y1, fill: 'var(--bg)'}));
				lowest = y1;
			}
			g.append(svg('rect', {...box, class: 'lane s-' + s.state}, svg('title', {}, `${name} ${stepText(s)}: ${s.event}`)));
			if (s.assumed) g.append(svg('rect', {...box, fill: 'url(#hatch)', 'pointer-events': 'none'}));
			if (y2 - y1 > 5 || over || i === list.length - 1) beside[side].push({y: y1 + 5, text: stepText(s), kind: 'state', must: true});
		});
		g.append(edge({x, y: 50, width: X.lane, height: lowest - 50}), hostName(X, side, c[name].addr),
			svg('text', {x: side ? X.right - 20 : X.left - 20, y: 37, class: 'small'}, name));
	}
	let times = 0, labels = 0, flags = 0;
	l.rows.forEach((r, i) => {
		const y = ys[i], row = svg('g', {}, svg('title', {}, rowText(r, l)));
		g.append(row);
		if (r.k !== 2 && y - times > 13 || !i) {
			if (X.time) row.append(svg('text', {x: X.time, y: y + 4, 'text-anchor': 'end', class: 'small'}, seconds(r.t)));
			if (r.n) row.append(svg('text', {x: X.frame, y: y + 4, 'text-anchor': 'end', class: 'small'}, '#' + r.n));
			times = y;
		}
		if (r.k === 2) {
			row.append(svg('rect', {class: 'fold', x: middle - 100, y: y - 4, width: 200, height: 24, rx: 12}),
				svg('text', {x: middle, y: y + 13, 'text-anchor': 'middle'}, '⋮  ' + r.x + '  ⋮'));
			labels = y;
			return;
		}
		if (r.k === 1) row.append(svg('text', {x: middle, y: y + 4, 'text-anchor': 'middle', class: 'deed'}, '(' + r.x + ')'));
		else row.append(arrow(X, r, y, comesAt(l, i, ys, slant), r.g > 2 || (r.a || []).some(n => l.odd[n].kind === 'forged-rst')));
		if (r.k !== 1 && r.g !== 2 && (y - labels > 15 || !toScale)) {
			const share = r.l ? (r.d ? 0.6 : 0.4) : 0.5;
			const x = X.left + X.lane + (X.right - X.left - X.lane) * share;
			const label = (x, y, ...text) => row.append(svg('text', {class: 'label', x, y, 'text-anchor': 'middle'}, ...text));
			const control = svg('tspan', {class: 'flags'}, flagsText(r)), above = y + slant * (r.l ? 0.4 : 0.5) - 9;
			if (X.beside || !r.f) label(x, above, control, ' ' + (r.x || ''));
			else {
				label(x, above, control);
				label(middle, y + slant + 12, r.x || '');
			}
			labels = y;
		}
		(r.m || []).forEach((deed, side) => {
			if (!deed) return;
			const stops = ends.includes(deed), at = r.g === 2 || r.d === undefined === (side === 0) ? y : y + slant, x = side ? X.right : X.left;
			if (stops) {
				row.append(svg('circle', {class: 'stop', cx: x + X.lane / 2, cy: at, r: 12}),
					svg('path', {class: 'stop-x', d: `M${x + X.lane / 2 - 5} ${at - 5}l10 10m0 -10l-10 10`}));
			}
			beside[side].push({y: at + 20, text: deed, kind: 'deed' + (stops ? ' end' : ''), must: stops});
		});
		const fate = fateText(r, true);
		const remark = (...what) => row.append(...what, ...X.beside ? [svg('path', {class: 'leader', d: `M${X.stateR + 90} ${y}L${X.flags - 6} ${flags - 4}`})] : []);
		const start = X.beside ? y + 4 : y + slant + 32;
		if (fate) {
			flags = Math.max(start, flags + 22);
			const said = (r.l === 2 ? '? ' : '✕ ') + fate;
			remark(svg('text', {class: 'why label', x: X.beside ? X.flags : middle, y: flags, 'text-anchor': X.beside ? 'start' : 'middle',
				...squeezed(said, 7.3, X.beside ? X.width - X.flags - 6 : 2 * (X.width - middle) - 12)}, said));
		}
		for (const n of r.a || []) {
			const a = l.odd[n];
			flags = Math.max(start, flags + 22);
			remark(svg('rect', {class: 'flag ' + a.severity, x: X.flags - 4, y: flags - 14, width: a.kind.length * 7.4 + 26, height: 20, rx: 4}),
				svg('text', {x: X.flags + 3, y: flags}, '⚑ ' + a.kind, svg('title', {}, a.severity + ': ' + a.text)));
		}
	});
	for (const [side, list] of beside.entries()) {
		let last = 0;
		for (const t of list.sort((a, b) => a.y - b.y)) {
			if (t.y < last + 13 && !t.must) continue;
			last = Math.max(t.y, last + 13);
			const room = side ? (X.beside ? X.flags : X.width) - X.stateR - 12 : X.stateL - 8;
			g.append(svg('text', {x: side ? X.stateR + 4 : X.stateL - 4, y: last, 'text-anchor': side ? 'start' : 'end', class: t.kind, ...squeezed(t.text, 8, room)}, t.text));
		}
	}
	const height = Math.max(bottom, flags + 14) + 6;
	return svg('svg', {class: 'ladder', viewBox: `0 0 ${X.width} ${height}`, width: X.width, height, role: 'img', 'aria-label': title, 'data-cuts': cuts(l, ys).join(' ')},
		svg('title', {}, title), ...g.children);
}

// hostName writes the address of an end above its lane.
function hostName(X, side, addr) {
	if (X.beside) return svg('text', {x: (side ? X.right : X.left) - 20, y: 20, class: 'host', ...squeezed(addr, 9, side ? X.width - X.right : X.right - X.left - 20)}, addr);
	const room = X.width / 2 - 12; // half of the picture
	return svg('text', {x: side ? X.width - 4 : 4, y: 20, 'text-anchor': side ? 'end' : 'start', class: 'host', ...squeezed(addr, 9, room)}, addr);
}

// cuts returns where a ladder can be cut: below the hosts, and between rungs.
function cuts(l, ys) {
	const list = [46];
	ys.forEach((y, i) => {
		const free = i > 0 && y - ys[i - 1] >= (l.rows[i - 1].m ? 50 : 36);
		if (free && y - list[list.length - 1] > 150) list.push(y - 14);
	});
	return list;
}

// rowText tells all of a rung, for a tooltip.
function rowText(r, l) {
	if (r.k === 2) return r.x;
	return [(r.n ? '#' + r.n + ' ' : '') + (r.p ? '(' + r.p + ') ' : '') + (r.o || r.x), fateText(r), ...(r.s || []), ...(r.a || []).map(n => l.odd[n].kind + ': ' + l.odd[n].text)]
		.filter(t => t).join('\n');
}

function table(name, titles, rows) {
	return el('table', {'aria-label': name}, el('thead', {}, el('tr', {}, ...titles.map(t => el('th', {scope: 'col'}, t)))),
		el('tbody', {}, ...rows.map(r => el('tr', {}, ...r.map((cell, i) => el(i ? 'td' : 'th', i ? {} : {scope: 'row'}, cell))))));
}

function ladderTable(c, l) {
	const views = (r, side) => {
		if (!r.c) return '';
		const [state, proved] = [r.c[2 * side], r.c[2 * side + 1]].map(i => data.states[i]);
		return state === proved ? state : proved + '..' + state;
	};
	const names = l.left === 0 ? ['client', 'server'] : ['server', 'client'];
	return table('Segments', ['Time', 'Frame', 'From', 'Segment', names[0] + ', as known then', names[1] + ', as known then', 'What it did'], l.rows.map(r => [
		seconds(r.t), r.n ? String(r.n) : '', r.k === 2 || r.k === 1 ? '' : names[r.d || 0], r.o || r.x || '', views(r, 0), views(r, 1),
		[fateText(r), ...(r.s || []), ...(r.a || []).map(n => l.odd[n].kind)].filter(t => t).join('; ')]));
}

function showLadder(conn, focus) {
	const c = find(conn);
	if (!c) {
		byId('l-empty').textContent = 'Connection ' + conn + ' is not listed in this page.';
		byId('l-empty').hidden = false;
		byId('l-body').hidden = true;
		return;
	}
	open = conn;
	markOpen();
	const l = ladders[conn];
	byId('l-empty').hidden = true;
	byId('l-body').hidden = false;
	byId('ladder-title').textContent = 'Ladder of connection ' + conn;
	byId('l-heading').textContent = `${c.client.label} ${c.client.text} (client), ${c.server.label} ${c.server.text} (server), ` +
		(endings[c.closedBy] || c.closedBy || 'open') + `, ${thousands(c.client.packets + c.server.packets)} segments in ${human(c.span)}` +
		(c.origin === 'syn' ? '' : ', first seen ' + (c.origin === 'syn-ack' ? 'at its SYN,ACK' : 'midstream'));
	const last = Math.max(c.span, ...[c.client, c.server].flatMap(steps).map(s => s.at), 1) * 1.04;
	const scale = us => lanes.left + us / last * lanes.width, way = l && ways(c, l, scale, lanes.row + 18), height = way ? way.height : lanes.row + 22;
	byId('l-line').replaceChildren(svg('svg', {viewBox: `0 0 ${lanes.all} ${height}`, width: lanes.all, height, class: 'timelines', role: 'img',
		'aria-label': 'Timeline of connection ' + conn}, axis(0, last, 16, height - 18), ...names(c, 18, false),
	timeline(c, 18 + lanes.names, scale, Math.min(scale(data.span - c.start), lanes.left + lanes.width)), way ? way.picture : ''));
	const toScale = document.querySelector('input[name=spacing]:checked').value === 'scale';
	byId('l-picture').replaceChildren(l ? drawLadder(c, l, toScale) : el('p', {class: 'note'}, 'This page does not have the segments of this connection.'));
	byId('l-table').hidden = !l;
	byId('l-table').querySelector('div').replaceChildren(l ? ladderTable(c, l) : '');
	byId('l-history').querySelector('div').replaceChildren(table('States of both ends', ['Time', 'Frame', 'End', 'State', 'On', 'Basis'],
		[['client', c.client], ['server', c.server]].flatMap(([name, end]) => steps(end).map(s => ({...s, name})))
			.sort((a, b) => a.at - b.at).map(s => [seconds(s.at), s.packet ? String(s.packet) : '', s.name, stepText(s), s.event, s.basis])));
	byId('l-odd').replaceChildren(...(l && l.odd || []).flatMap(a => [
		el('h4', {}, el('span', {class: 'severity ' + a.severity}, a.severity), ' ' + a.kind + ' ', el('span', {class: 'rfc'}, a.facts || '')), el('p', {}, a.text)]));
	if (focus) {
		byId('ladder-title').focus({preventScroll: true});
		byId('ladder').scrollIntoView();
	}
}

// step opens the connection before or after the open one, in the order of the
// table.
function step(by) {
	const list = shown.length ? shown : all, i = list.findIndex(c => c.conn === open);
	location.hash = '#conn=' + list[(i + by + list.length) % list.length].conn;
}

function followHash(focus) {
	const m = /^#conn=(\d+)$/.exec(location.hash);
	if (m) showLadder(Number(m[1]), focus);
	return m;
}

// Paper.

let undo = []; // what brings the page back from paper

// sliced returns a picture as a table: what is above the first of cuts is its
// head, which stands on every sheet, and what is between two cuts is a row,
// which no sheet ends in.
function sliced(picture, cuts) {
	const [, , width, height] = picture.getAttribute('viewBox').split(' ').map(Number);
	const parts = [...picture.children].filter(e => e.tagName !== 'title').map(e => [e, e.getBBox()]);
	const slice = (top, bottom) => svg('svg', {viewBox: `0 ${top} ${width} ${bottom - top}`, width, height: bottom - top, class: picture.getAttribute('class') || ''},
		...parts.filter(([, box]) => box.y < bottom && box.y + box.height > top).map(([e]) => e.cloneNode(true)));
	const row = (top, bottom) => el('tr', {}, el('td', {}, slice(top, bottom)));
	return el('table', {class: 'slices', role: 'presentation'}, el('thead', {}, row(0, cuts[0])),
		el('tbody', {}, ...cuts.map((top, i) => row(top, i + 1 < cuts.length ? cuts[i + 1] : height))));
}

// said tells how the table is filtered and sorted.
function said() {
	const set = [['text', 'f-text'], ['host', 'f-host'], ['state', 'f-state'], ['anomaly', 'f-kind']].map(([name, id]) => [name, byId(id).value])
		.filter(([, value]) => value).map(([name, value]) => name + ' ' + (value === '*' ? 'of some kind' : value === '?' ? 'undecided' : value));
	return (set.length ? 'Filtered by ' + set.join(', ') + '. ' : '') +
		(sorted.column ? 'Sorted by ' + sorted.column.title + (sorted.down ? ', descending. ' : '. ') : '');
}

// toPaper makes the page fit for sheets of paper, and has it say what of it is
// not printed.
function toPaper() {
	toScreen();
	const add = (before, e) => { before.before(e); undo.push(() => e.remove()); };
	for (const d of document.querySelectorAll('details.kind:not([open])')) {
		d.open = true;
		undo.push(() => { d.open = false; });
	}
	const note = (before, text) => text && add(before, el('p', {class: 'note'}, text));
	const first = page * perPage, n = Math.min(perPage, shown.length - first), drawn = Object.keys(ladders).length;
	note(byId('table').parentNode, said() + (n < shown.length
		? `Only the open page of the table is printed: ${thousands(first + 1)} to ${thousands(first + n)} of ${thousands(shown.length)}.` : ''));
	note(byId('l-heading'), drawn > 1 ? `Only the open ladder is printed, 1 of ${thousands(drawn)} in this file.` : '');
	for (const picture of document.querySelectorAll('svg[data-cuts]')) {
		if (picture.getClientRects().length) add(picture, sliced(picture, picture.dataset.cuts.split(' ').map(Number)));
	}
}

function toScreen() {
	for (const step of undo.splice(0)) step();
}

// The page.

if (!all.length) return;
const head = byId('table').tHead.rows[0];
for (const k of columns) {
	head.append(el('th', {scope: 'col', class: k.n ? 'n' : undefined},
		el('button', {type: 'button', onclick: () => sortBy(k)}, k.title, el('span', {'aria-hidden': 'true'}))));
}
const present = new Set();
for (const c of all) present.add(c.client.state).add(c.server.state);
byId('f-state').append(...data.states.filter(s => present.has(s)).map(s => el('option', {}, s)));
byId('f-kind').append(...[...(data.kinds || [])].sort().map(k => el('option', {}, k)));
byId('legend').append(...data.states.filter(s => s !== 'LISTEN').map(s => el('span', {}, el('i', {class: 'swatch s-' + s}), ' ' + s)),
	el('span', {}, el('i', {class: 'swatch s-TIME_WAIT assumed'}), ' hatched: assumed'), el('span', {}, '▼ anomaly'));
for (const id of ['f-text', 'f-host', 'f-state', 'f-kind']) byId(id).addEventListener('input', filter);
byId('filters').addEventListener('submit', e => e.preventDefault());
byId('filters').addEventListener('reset', () => setTimeout(filter));
for (const [id, go] of [['first', () => 0], ['prev', () => page - 1], ['next', () => page + 1], ['last', () => Infinity]]) {
	byId('p-' + id).addEventListener('click', () => { page = go(); showPage(); });
}
for (const radio of document.querySelectorAll('input[name=axis]')) radio.addEventListener('change', showPage);
for (const radio of document.querySelectorAll('input[name=spacing]')) radio.addEventListener('change', () => showLadder(open));
small.addEventListener('change', () => { fit(); showPage(); showLadder(open); });
byId('l-prev').addEventListener('click', () => step(-1));
byId('l-next').addEventListener('click', () => step(1));
window.addEventListener('hashchange', () => followHash(true));
window.addEventListener('beforeprint', toPaper);
window.addEventListener('afterprint', toScreen);
fit();
showPage();
if (!followHash(true)) showLadder(find(data.open) ? data.open : all[0].conn);
})();
