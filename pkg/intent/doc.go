// Package intent keeps what operators want, on disk: drains, with an end. They
// survive kill -9 and reboots.
//
// It owns the file and its format (a time in it is a durable.Stamp); one goroutine, that
// of Run, does all writing, so that nobody else waits for a disk. It must not know
// what a drain does.
//
// Time: while the agent runs, and through its restarts, an end comes when the time
// that was asked for has gone by, whatever happens to the wall clock. A reboot alone
// asks the wall clock, and never takes more from it than there was left.
package intent
