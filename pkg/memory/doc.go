// Package memory keeps on disk what one agent must leave to its successor about the
// failures that it saw: which services have failed, when each flapped, and when a recovery
// delay that is running ends. A service in a restart loop does not escape its delay by
// the agent's own restart, its crash, or a reboot.
//
// It owns the file, and what of policy.Memory belongs into it; one goroutine, that of
// Run, does all writing, so that nobody else waits for a disk. It must not know what a
// failure means. Whatever happens to the file, only this memory is lost.
//
// Time is as in durable.Stamp: no jump of the wall clock makes a delay longer or shorter,
// and only a reboot asks it.
package memory
