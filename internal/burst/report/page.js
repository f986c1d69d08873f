'use strict';
// Draws the timelines from the data in the page. Times are milliseconds. No
// plotting library is at work: each page would have to carry it, and those that
// are kept have no timeline of 10,000 rows which keys and screen readers can use.
const data = JSON.parse(document.getElementById('data').textContent);
const texts = data.texts;
const LEFT = 92, RIGHT = 10;
const PAPER = 700; // the width of a timeline in print, of A4 as of Letter
let printing = false;

const secs = t => (t / 1000).toFixed(t < 10000 ? 1 : 0) + ' s';
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const highest = steps => Math.max(1, ...steps.map(s => s[1]));

// A job as the data's lists have it, in words.
const job = d => {
  const j = {number: d[0], id: texts[d[1]], state: d[2], due: d[3], stages: [], attempts: [], error: texts[d[6]]};
  let at = d[3];
  for (let i = 0; i < d[4].length; i += 3) {
    j.stages.push({kind: d[4][i], from: at, to: d[4][i + 1], attempt: d[4][i + 2]});
    at = d[4][i + 1];
  }
  j.end = at;
  for (let i = 0; i < d[5].length; i += 6) {
    const a = d[5].slice(i, i + 6);
    j.attempts.push({start: a[0], end: a[1], status: a[2], worker: texts[a[3]], verdict: texts[a[4]], reason: texts[a[5]]});
  }
  return j;
};
const states = ['succeeded', 'lost', 'interrupted'];

const attemptText = (a, n) => `attempt ${n + 1}: ${a.status ? 'status ' + a.status : 'no answer'} after ${secs(a.end - a.start)}` +
  (a.worker ? ` from ${a.worker}` : '') + `; ${a.verdict}` + (a.reason ? ` (${a.reason})` : '');

function describe(j, s) {
  const lines = [`Job ${j.id}: ${states[j.state]} after ${secs(j.end - j.due)}, ${j.attempts.length} attempt${j.attempts.length === 1 ? '' : 's'}`];
  if (s) lines.push(`${data.stages[s.kind]}: ${secs(s.to - s.from)}, from ${secs(s.from)} to ${secs(s.to)}`);
  if (s && s.attempt >= 0) lines.push(attemptText(j.attempts[s.attempt], s.attempt));
  else if (j.attempts.length) lines.push(attemptText(j.attempts[j.attempts.length - 1], j.attempts.length - 1));
  if (j.state && j.error) lines.push(j.error);
  return lines.join('\n');
}

class Timeline {
  constructor(box, run) {
    this.box = box;
    this.run = run;
    this.jobs = run.jobs;
    this.at = {job: -1, stage: 0};
    this.from = 0;
    this.to = Math.max(1, data.last);
    this.scroll = box.querySelector('.scroll');
    this.rows = box.querySelector('.rows');
    this.detail = box.querySelector('.detail');
    this.scroll.addEventListener('scroll', () => this.later());
    this.scroll.addEventListener('keydown', e => this.key(e));
    this.rows.addEventListener('mousemove', e => this.point(e));
    this.scroll.addEventListener('focus', () => { if (this.at.job < 0 && this.jobs.length) this.select(0, 0); });
    box.querySelectorAll('[data-zoom]').forEach(b => b.addEventListener('click', () => this.zoom(b.dataset.zoom)));
    this.draw();
  }

  // rowHeight has the rows fill their frame, and on paper leave room for the rest.
  get rowHeight() { return Math.max(3, Math.min(printing ? 10 : 16, Math.floor(480 / Math.max(1, this.jobs.length)))); }

  later() {
    if (!this.pending) this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  x(t) { return LEFT + (t - this.from) / (this.to - this.from) * (this.width - LEFT - RIGHT); }
  time(x) { return this.from + (x - LEFT) / (this.width - LEFT - RIGHT) * (this.to - this.from); }

  // sized makes a canvas so many pixels high and as wide as the page allows.
  sized(canvas, height) {
    const scale = printing ? 2 : window.devicePixelRatio || 1;
    canvas.style.height = height + 'px';
    canvas.width = Math.round(this.width * scale);
    canvas.height = Math.round(height * scale);
    const g = canvas.getContext('2d');
    g.scale(scale, scale);
    g.clearRect(0, 0, this.width, height);
    g.font = (printing ? 9 : 11) + 'px sans-serif';
    return g;
  }

  draw() {
    this.width = printing ? PAPER : this.scroll.clientWidth;
    this.colours = data.stages.map((_, i) => css('--s' + i));
    this.ink = css('--ink'); this.soft = css('--soft'); this.line = css('--line'); this.lost = css('--lost'); this.focus = css('--focus');
    this.drawJobs();
    this.drawWorkers();
    const flight = highest(this.run.flight);
    this.drawSteps('.counts', 'in flight', [[this.run.flight, css('--s5')], [this.run.queue, css('--s4')]], flight);
    this.drawSteps('.conns', 'S3 conns', [[this.run.s3, css('--s2')]], highest(this.run.s3));
  }

  drawJobs() {
    const all = printing;
    const most = Math.floor(6000 / this.rowHeight); // a sheet of paper has an end
    const rows = all ? Math.min(this.jobs.length, most) : this.jobs.length;
    const sheet = rows * this.rowHeight, height = all ? sheet : Math.min(480, sheet);
    this.rows.parentElement.style.height = sheet + 'px';
    const g = this.sized(this.rows, Math.max(1, height));
    const top = all ? 0 : this.scroll.scrollTop;
    this.grid(g, height);
    const first = Math.floor(top / this.rowHeight), last = Math.min(rows, Math.ceil((top + height) / this.rowHeight));
    const marked = all ? -1 : this.at.job;
    for (let i = first; i < last; i++) this.drawJob(g, i, i * this.rowHeight - top, i === marked);
  }

  drawJob(g, i, y, marked) {
    const j = job(this.jobs[i]), h = this.rowHeight - (this.rowHeight > 5 ? 2 : 1);
    const every = Math.ceil((printing ? 10 : 12) / this.rowHeight);
    if (i % every === 0) {
      g.fillStyle = j.state === 1 ? this.lost : this.soft;
      g.fillText((j.state === 1 ? '✕ ' : '') + j.id.slice(0, 12), 4, y + Math.min(h, 10), LEFT - 10);
    }
    j.stages.forEach((s, n) => {
      const x0 = Math.max(LEFT, this.x(s.from)), x1 = this.x(s.to);
      if (x1 < LEFT || x0 > this.width - RIGHT) return;
      const lost = j.state === 1 && s.attempt >= 0 && s.attempt === j.attempts.length - 1;
      g.fillStyle = lost ? this.lost : this.colours[s.kind];
      const w = Math.max(0.5, Math.min(x1, this.width - RIGHT) - x0);
      g.fillRect(x0, y, w, h);
      if (marked && n === this.at.stage) {
        g.strokeStyle = this.ink; g.lineWidth = 2;
        g.strokeRect(x0, y, Math.max(2, w), h);
      }
    });
    g.fillStyle = this.lost;
    for (const a of j.attempts.slice(0, -1)) {
      const x = this.x(a.end);
      if (x > LEFT && x < this.width - RIGHT) g.fillRect(x - 1.5, y, 3, h);
    }
    if (marked) { g.fillStyle = this.focus; g.fillRect(0, y, 3, h); }
  }

  drawWorkers() {
    const list = this.run.workers, h = list.length > 40 ? 5 : printing ? 10 : 12;
    const g = this.sized(this.box.querySelector('.workers'), list.length * h + 18);
    this.grid(g, list.length * h);
    this.axis(g, list.length * h + 13);
    list.forEach((w, i) => {
      const [id, begun, ready, stopped, , , busy, seen] = w, y = i * h;
      g.fillStyle = this.soft;
      if (h > 8) g.fillText(texts[id], 4, y + 9, LEFT - 10);
      if (!seen) this.bar(g, begun, ready || stopped, y, h - 2, css('--starting'));
      if (ready || begun === 0) this.bar(g, ready, stopped, y, h - 2, css('--idle'));
      for (let k = 0; busy && k < busy.length; k += 2) this.bar(g, busy[k], busy[k + 1], y, h - 2, css('--s5'), true);
    });
  }

  bar(g, from, to, y, h, colour, gap) {
    const x0 = Math.max(LEFT, this.x(from)), x1 = Math.min(this.width - RIGHT, this.x(to));
    if (x1 <= x0) return;
    g.fillStyle = colour;
    g.fillRect(x0, y, Math.max(0.5, x1 - x0 - (gap && x1 - x0 > 3 ? 1 : 0)), h);
  }

  // drawSteps draws counts over time; the first list is filled.
  drawSteps(where, label, lists, most) {
    const height = printing ? 40 : 70, g = this.sized(this.box.querySelector(where), height + 18);
    this.grid(g, height);
    this.axis(g, height + 13);
    g.fillStyle = this.soft;
    g.fillText(label, 4, 12, LEFT - 10);
    g.fillText('peak ' + most, 4, printing ? 23 : 26, LEFT - 10);
    lists.forEach(([steps, colour], n) => {
      if (!steps.length) return;
      g.beginPath();
      g.moveTo(Math.max(LEFT, this.x(steps[0][0])), height);
      let y = height;
      for (const [t, count] of steps) {
        const x = Math.min(this.width - RIGHT, Math.max(LEFT, this.x(t)));
        g.lineTo(x, y);
        y = height - count / most * (height - 6);
        g.lineTo(x, y);
      }
      g.lineTo(Math.min(this.width - RIGHT, this.x(steps[steps.length - 1][0])), height);
      g.globalAlpha = n ? 0.85 : 0.55;
      g.fillStyle = colour;
      g.fill();
      g.globalAlpha = 1;
    });
  }

  // ticks are round times, about eight of them.
  ticks() {
    const raw = (this.to - this.from) / 8, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw), all = [];
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) all.push(t);
    return all;
  }

  grid(g, height) {
    g.fillStyle = this.line;
    for (const t of this.ticks()) g.fillRect(Math.round(this.x(t)), 0, 1, height);
  }

  axis(g, y) {
    g.fillStyle = this.soft;
    g.textAlign = 'center';
    for (const t of this.ticks()) g.fillText(+(t / 1000).toFixed(2) + ' s', Math.min(this.x(t), this.width - 20), y);
    g.textAlign = 'left';
  }

  point(e) {
    const r = this.rows.getBoundingClientRect();
    const i = Math.floor((e.clientY - r.top + this.scroll.scrollTop) / this.rowHeight);
    if (i < 0 || i >= this.jobs.length) return;
    const t = this.time(e.clientX - r.left), j = job(this.jobs[i]);
    let n = j.stages.findIndex(s => t >= s.from && t < s.to);
    if (n < 0) n = t < j.due ? 0 : j.stages.length - 1;
    if (i !== this.at.job || n !== this.at.stage) this.select(i, n, true);
  }

  select(i, n, pointed) {
    i = Math.max(0, Math.min(this.jobs.length - 1, i));
    const j = job(this.jobs[i]);
    n = Math.max(0, Math.min(j.stages.length - 1, n));
    this.at = {job: i, stage: n};
    this.detail.textContent = describe(j, j.stages[n]);
    const y = i * this.rowHeight;
    if (!pointed && y < this.scroll.scrollTop) this.scroll.scrollTop = y;
    if (!pointed && y + this.rowHeight > this.scroll.scrollTop + this.scroll.clientHeight) {
      this.scroll.scrollTop = y + this.rowHeight - this.scroll.clientHeight;
    }
    this.later();
  }

  key(e) {
    const {job: i, stage: n} = this.at, page = Math.max(1, Math.floor(480 / this.rowHeight));
    const moves = {ArrowDown: [i + 1, n], ArrowUp: [i - 1, n], ArrowRight: [i, n + 1], ArrowLeft: [i, n - 1],
      Home: [0, 0], End: [this.jobs.length - 1, 0], PageDown: [i + page, n], PageUp: [i - page, n]};
    const zooms = {'+': 'in', '=': 'in', '-': 'out', '0': 'all'};
    if (e.ctrlKey || e.metaKey || e.altKey || !(moves[e.key] || zooms[e.key])) return;
    e.preventDefault();
    if (zooms[e.key]) this.zoom(zooms[e.key]);
    else if (this.jobs.length) this.select(...moves[e.key]);
  }

  zoom(way) {
    const whole = Math.max(1, data.last);
    let width = this.to - this.from, mid = (this.from + this.to) / 2;
    if (this.at.job >= 0) {
      const s = job(this.jobs[this.at.job]).stages[this.at.stage];
      if (s) mid = (s.from + s.to) / 2;
    }
    width = way === 'in' ? Math.max(100, width / 2) : way === 'out' ? Math.min(whole, width * 2) : whole;
    this.from = Math.max(0, Math.min(whole - width, mid - width / 2));
    this.to = this.from + width;
    this.draw();
  }
}

// table makes a table from rows of texts.
function table(head, rows) {
  const t = document.createElement('table'), h = t.createTHead().insertRow();
  for (const name of head) {
    const th = document.createElement('th');
    th.scope = 'col';
    th.textContent = name;
    h.append(th);
  }
  const body = t.createTBody();
  for (const row of rows) {
    const tr = body.insertRow();
    for (const v of row) tr.insertCell().textContent = v;
  }
  return t;
}

const jobRow = d => {
  const j = job(d);
  const sums = data.stages.map((_, k) => j.stages.filter(s => s.kind === k).reduce((sum, s) => sum + s.to - s.from, 0));
  return [j.id, states[j.state], secs(j.due), secs(j.end - j.due), ...sums.map(s => s ? secs(s) : ''),
    j.attempts.map(attemptText).join('; '), j.error];
};

// jobTable shows the jobs, some at a time.
function jobTable(place, jobs, from) {
  const size = 200, bar = document.createElement('p');
  bar.className = 'pager';
  bar.textContent = `Jobs ${jobs.length ? from + 1 : 0} to ${Math.min(jobs.length, from + size)} of ${jobs.length} `;
  for (const [name, to] of [['Earlier', from - size], ['Later', from + size]]) {
    if (to < 0 || to >= jobs.length) continue;
    const b = document.createElement('button');
    b.type = 'button';
    b.textContent = name;
    b.addEventListener('click', () => jobTable(place, jobs, to));
    bar.append(b, ' ');
  }
  const head = ['job', 'outcome', 'due', 'took', ...data.stages, 'attempts', 'error'];
  place.replaceChildren(bar, table(head, jobs.slice(from, from + size).map(jobRow)));
}

function workerTable(place, workers) {
  const rows = workers.map(([id, begun, ready, stopped, end, served, , seen]) =>
    [texts[id], seen ? 'not known' : secs(begun), secs(ready), stopped ? secs(stopped) : '', served, seen ? 'seen answering' : texts[end]]);
  place.replaceChildren(table(['worker', 'began to start', 'ready', 'stopped', 'requests', 'end'], rows));
}

const timelines = [...document.querySelectorAll('.timeline')].map((box, i) => new Timeline(box, data.runs[i]));
document.querySelectorAll('.jobtable').forEach((d, i) => d.addEventListener('toggle', () => jobTable(d.lastElementChild, data.runs[i].jobs, 0), {once: true}));
document.querySelectorAll('.workertable').forEach((d, i) => d.addEventListener('toggle', () => workerTable(d.lastElementChild, data.runs[i].workers), {once: true}));
const redraw = () => timelines.forEach(t => t.draw());
window.addEventListener('resize', redraw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
// The layout for paper sends a resize too, between these two.
const print = on => () => {
  printing = on;
  document.documentElement.classList.toggle('printing', on);
  redraw();
};
window.addEventListener('beforeprint', print(true));
window.addEventListener('afterprint', print(false));
