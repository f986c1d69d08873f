// Package runpodtest is a Runpod load-balancing endpoint and its network volume,
// in process: for tests that must meet a cold start without paying for one, and
// for finding out how many workers a burst needs.
//
// NewServer starts a balancer with autoscaled workers, the volume's S3 gateway
// and the control plane's REST v2. A request goes this way:
//
//	client ─► edge ─► queue ─► worker ─► answer
//	          key,    2 min    Config.Handler,
//	          size    at most  5.5 min at most
//
// Workers are asked for only while requests are there, and come after a cold
// start: that is what makes a burst hard, and what a test should meet.
// Server.Fault adds what goes wrong besides; Server.Stats, Requests, Workers and
// WriteAccount say what happened and what it would have cost.
//
// # Time
//
// The server lives in the time around it. Inside a testing/synctest bubble, over
// the in-memory network, a burst with real two-minute waits takes milliseconds:
// make the server in the bubble, and before the bubble ends call the client's
// CloseIdleConnections and the server's Close. Outside a bubble, Config.Speed
// divides every duration of the service. What does not scale: the real work a
// Handler does, the whole seconds of a Retry-After header, the times files have
// when a worker writes them, and a client's own timeouts.
//
// Every draw is tied to the seed and the number of the request or worker it is
// for. The same seed and traffic give the same history, up to the order of what
// happens within one instant.
//
// # What can be trusted
//
// Each field and preset says whether its behaviour is documented by Runpod (docs),
// was reported by users, or is inferred. Nothing was checked against the live
// service. Inferred, and so to be doubted: the answers' bodies around documented
// reasons, the status for a body over the limit, what a crash looks like, the
// QUEUE_DELAY formula, Unfairness, that no limit applies to an open WebSocket,
// and that a worker ends its service time although the client has left.
//
// The S3 side is gofakes3 over a folder, with signatures, Content-MD5 and the
// signed SHA-256 checked. Known differences: requests may be 15 minutes out of
// time, not an hour; a wrong CRC in a checksum trailer passes; keys with empty
// names between slashes are refused, not normalised. An empty folder is listed
// (docs) under a key that ends in a slash, and such a key makes, reads and deletes
// a folder (inferred). The signature's region must be the volume's (users met a
// refusal; the answer is inferred). A worker's file that takes a
// deleted object's place may inherit its ETag where the file system reuses
// inodes.
//
// The job API (Server.JobsURL, Config.JobHandler) runs its jobs on the same
// workers, beside the endpoint's requests: on the service an endpoint has one or
// the other. Batches too, which have workers of their own there. Webhooks and a
// job's low priority are noted and nothing comes of them.
//
// Not served yet: of the control plane all but the endpoint, its worker bounds and
// scaling, and the list of its workers. The package shares no type with package
// runpod, so that a mistake cannot pass on both sides.
package runpodtest
