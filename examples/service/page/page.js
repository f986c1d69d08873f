const maxPhoto = 8_000_000; // bytes, as the service has it
const most = 4; // a browser keeps six connections to a server: some are left for what is not a stream
const form = document.querySelector('form'), problem = document.getElementById('problem');
const list = document.getElementById('jobs'), none = document.getElementById('none');
const line = document.querySelector('template').content.firstElementChild;
const jobs = new Map(); // by id

// A photograph of one's own is offered beside the samples.
for (const input of document.querySelectorAll('input[type=file]')) {
  input.addEventListener('change', () => {
    const own = input.closest('fieldset').querySelector('.own'), file = input.files[0];
    own.hidden = !file;
    if (!file) {
      input.closest('fieldset').querySelector('input[type=radio]').checked = true;
      return;
    }
    URL.revokeObjectURL(own.querySelector('img').src);
    own.querySelector('img').src = URL.createObjectURL(file);
    own.querySelector('input').checked = true;
  });
}

// chosen returns a photograph and what to call it.
async function chosen(name) {
  const radio = form.querySelector(`input[name=${name}]:checked`);
  if (radio.value === 'own') {
    const file = form.querySelector(`input[data-for=${name}]`).files[0];
    return { photo: file, label: file.name };
  }
  const answer = await fetch(radio.value);
  if (!answer.ok) throw new Error('The sample cannot be loaded.');
  return { photo: await answer.blob(), label: radio.nextElementSibling.alt };
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = form.querySelector('button');
  button.disabled = true;
  problem.textContent = '';
  try {
    const person = await chosen('person'), garment = await chosen('garment');
    if (Math.max(person.photo.size, garment.photo.size) > maxPhoto) throw new Error('A photograph may have 8 MB at most.');
    const data = new FormData();
    data.append('person', person.photo, 'person');
    data.append('garment', garment.photo, 'garment');
    const answer = await fetch('tryon', { method: 'POST', body: data });
    const said = await answer.json();
    if (answer.status === 429) throw new Error(`Many people are here now. Try again in ${answer.headers.get('Retry-After')} seconds.`);
    if (!answer.ok) throw new Error(`It was not taken: ${said.error}.`);
    add({ id: said.id, what: `${person.label}, ${garment.label}` });
    remember();
  } catch (error) {
    problem.textContent = error instanceof TypeError ? 'The service cannot be reached.' : error.message;
  }
  button.disabled = false;
});

// remember keeps the jobs for the page's next load.
function remember() {
  localStorage.setItem('jobs', JSON.stringify([...jobs.values()].map(({ id, what }) => ({ id, what }))));
}

function add(job) {
  job.line = list.insertBefore(line.cloneNode(true), list.firstChild);
  job.line.querySelector('.what').textContent = job.what;
  const button = job.line.querySelector('button');
  button.addEventListener('click', () => end(job));
  jobs.set(job.id, job);
  show(job, { phase: 'wait' });
  watchNext();
}

// watchNext opens the streams of the oldest jobs.
function watchNext() {
  none.hidden = list.children.length > 0;
  const open = [...jobs.values()].filter((job) => job.stream).length;
  [...jobs.values()].filter((job) => !job.stream && !job.ended).slice(0, most - open).forEach(watch);
}

function watch(job) {
  job.stream = new EventSource(`jobs/${job.id}/events`); // it connects again by itself, with Last-Event-ID
  job.stream.addEventListener('message', (event) => {
    const state = JSON.parse(event.data);
    job.skew = Date.now() - Date.parse(state.now);
    show(job, state);
  });
  job.stream.addEventListener('error', () => {
    if (job.stream?.readyState === EventSource.CLOSED) show(job, { phase: 'gone' });
  });
}

function show(job, state) {
  job.state = state;
  job.cold ||= state.phase === 'cold';
  job.line.className = state.phase;
  job.ended = ['done', 'failed', 'canceled', 'gone'].includes(state.phase);
  const button = job.line.querySelector('button');
  button.textContent = job.ended ? 'Remove' : 'Cancel';
  button.setAttribute('aria-label', `${button.textContent}: ${job.what}`);
  const bar = job.line.querySelector('progress');
  bar.hidden = !state.total;
  if (state.total) [bar.max, bar.value] = [state.total, state.bytes ?? 0];
  say(job);
  if (!job.ended) return;
  job.stream?.close();
  job.stream = null;
  watchNext();
  if (state.phase === 'done') picture(job, state.result);
}

// picture shows the result. While the service is started anew it tries again.
function picture(job, address, tries = 6) {
  const link = job.line.querySelector('a'), img = link.querySelector('img');
  link.href = address;
  img.alt = `The picture: ${job.what}`;
  img.onload = () => { link.hidden = false; };
  img.onerror = () => {
    if (tries > 0) setTimeout(() => picture(job, address, tries - 1), 2000);
    else job.line.querySelector('[role=status]').textContent = 'The picture cannot be loaded.';
  };
  img.src = address;
}

// words say what a state means. The seconds are apart, so that they are not read
// out each time they change.
const words = {
  wait: () => ['Waiting to hear of it'],
  uploading: (s) => [s.bytes ? 'Uploading' : 'Uploading is about to begin'],
  waiting: (s, age) => [s.ahead ? `Waiting, ${s.ahead} ahead` : 'Waiting for its turn', s.next && `again in ${Math.max(0, -age(s.next))} s`],
  sent: (s, age, cold) => [s.attempt === 1 ? 'Sent' : `Sent again (attempt ${s.attempt})${cold ? ', no machine was up' : ''}`, `${age(s.since)} s ago`],
  cold: (s, age) => [`No machine is up yet, asked ${s.attempt === 1 ? 'once' : `${s.attempt} times`}`, `again in ${Math.max(0, -age(s.next))} s`],
  fetching: () => ['Fetching the picture'],
  done: () => ['Done'],
  failed: (s) => [s.error],
  canceled: () => ['Canceled'],
  gone: () => ['The service does not know this picture any more.'],
};

function say(job) {
  const age = (time) => Math.round((Date.now() - (job.skew ?? 0) - Date.parse(time)) / 1000);
  const [text, seconds] = words[job.state.phase]?.(job.state, age, job.cold) ?? [job.state.phase];
  const [state, ticking] = job.line.querySelector('.state').children;
  if (state.textContent !== text) state.textContent = text;
  ticking.textContent = seconds ? `, ${seconds}` : '';
}

setInterval(() => jobs.forEach((job) => { if (!job.ended) say(job); }), 1000);

// end cancels a job, or removes it with its picture.
async function end(job) {
  const canceled = !job.ended; // otherwise it is removed
  try {
    const known = !['canceled', 'gone'].includes(job.state.phase);
    if (known && !(await fetch(`jobs/${job.id}`, { method: 'DELETE' })).ok) throw new Error();
  } catch {
    problem.textContent = 'The service cannot be reached.';
    return;
  }
  if (canceled) show(job, { phase: 'canceled' });
  else job.line.remove();
  jobs.delete(job.id);
  remember();
  watchNext();
}

for (const job of JSON.parse(localStorage.getItem('jobs') ?? '[]')) add(job);
watchNext();
