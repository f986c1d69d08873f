// Package fleet runs jobs of a Runpod endpoint on any number of machines, by a
// durable queue on NATS JetStream. It is for batches that outlive one process:
// machines may come, go and be killed, and so may the server.
//
//	srv, err := embedded.Start(dir) // or a NATS server of yours
//	f, err := fleet.Open(ctx, srv.Conn(), fleet.Config{Name: "tryon", InFlight: 16})
//	n, err := f.Submit(ctx, client, specs)
//	err = f.Work(ctx, client, fleet.Slots(8)) // on every machine
//	for r, err := range f.Results(ctx, fleet.Save(client, "out")) {
//		...
//	}
//
// # What holds
//
// A job ends in exactly one [Result]. Before its call goes out, the machine that
// has it writes a claim. If that machine dies, an idempotent job goes to another
// machine; one that is not idempotent is not run again but ends as a failure
// that says it may have run ([ErrMayHaveRun]), and [Fleet.Retry] runs it.
//
// At most [Config.InFlight] calls are open from living machines, over all of
// them. A machine renews its lease five times within [Config.Lease]. If it
// cannot for three quarters of that, it ends its own calls, so that they have
// ended when another machine may start those jobs.
//
// # The way of a job
//
//	Spec -> Submit -> JOBS -> Work: claim -> call -> result -> acknowledge
//	          |                      CLAIMS           RESULTS -> Results -> Save
//	          +-> input files on the volume
//
// Streams keep one message for each job and subject. JOBS holds the jobs by
// their ids, and is the queue at the same time: what was acknowledged is done,
// and stays as the record by which a second submission of the same id is known.
// CLAIMS holds who runs what. RESULTS holds how jobs ended; a result is committed
// by creating it, so that the first one stands. LIVE holds the machines' leases
// and forgets those that are not renewed. BOOK holds the limit, who holds its
// places, and which inputs were uploaded. FAILED lists what failed.
package fleet
