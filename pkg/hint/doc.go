// Package hint hears from the kernel that something happened which the result of a
// check may depend on: a listening socket or a process that ended, a file or a systemd
// unit that changed. (Links and addresses of this host are package kernel's.)
//
// A hint is a trigger and never the truth: whoever gets one makes a probe look, and
// what that finds decides. So a hint too many costs a probe, and one that is missed
// costs the time until the next probe of the interval. What cannot be watched is
// reported, and tried again.
//
// It owns the sources: package sockdiag, pidfd, inotify, D-Bus. It must not know
// what a check is, nor what a probe finds.
//
// Goroutines: one for each source, one for each process that is watched or has a
// listener that is, and one that searches for those, all between Run's begin and end.
package hint
