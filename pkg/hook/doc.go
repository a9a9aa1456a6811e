// Package hook runs commands of an operator's when something changes: to page somebody,
// to tell a load balancer, to let an application end its sessions before a drain.
//
// It owns the queue in front of each command, its bounds in time and number, and the
// counts of what failed or was dropped. A hook is never in the path of a decision:
// nobody waits for one but a drain for pre_drain, and that within its timeout. It must
// not know why something changed.
//
// Goroutines: one for each hook that is configured and one for each pre_drain under way,
// all between Run's begin and end.
package hook
