// Package line has what keeps many callers in order: two queues, blocks of
// memory to share, and work done several at a time.
//
// A [Gate] admits callers first come, first served. A [Pool] gives its places
// to the caller who holds the fewest, and narrows while they are refused.
// [Buffers] bounds the memory that streams are read into. [ForEach] handles
// items side by side as they are produced. [Guard] keeps a callback's panic
// from ending the process.
//
// No lock is held while anybody waits, and every wait ends with its context.
package line
