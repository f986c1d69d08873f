// What Runpod's JavaScript SDK does with a queue endpoint.
import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

const { default: runpodSdk } = await import(pathToFileURL(process.argv[2] + '/dist/src/index.js'));
const endpoint = runpodSdk(process.env.RUNPOD_API_KEY).endpoint(process.env.RUNPOD_ENDPOINT_ID);

const health = await endpoint.health();
assert.ok('workers' in health && 'jobs' in health, JSON.stringify(health));

const done = await endpoint.runSync({ input: { prompt: 'now' } });
assert.equal(done.status, 'COMPLETED');
assert.deepEqual(done.output.input, { prompt: 'now' });

const job = await endpoint.run({ input: { prompt: 'later' } });
assert.equal(job.status, 'IN_QUEUE');
const chunks = [];
for await (const chunk of endpoint.stream(job.id)) chunks.push(chunk.output);
assert.deepEqual(chunks, [{ prompt: 'later' }]);
const status = await endpoint.status(job.id);
assert.equal(status.status, 'COMPLETED');

const dropped = await endpoint.run({ input: {} });
assert.equal((await endpoint.cancel(dropped.id)).status, 'CANCELLED');

await assert.rejects(fetch('https://example.org/'), 'another host was reached');
console.log('ok');
