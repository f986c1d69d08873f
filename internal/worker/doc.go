// Package worker is the programs that runpod-sim runs in its workers: the picture
// service of the stress tests (TryOn), a server that runs already (Remote), and
// processes of a command (Command).
package worker
