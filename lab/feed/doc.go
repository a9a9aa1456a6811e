// Package feed brings events from a program that prints them to a program that
// waits for them.
//
// It owns the format, one JSON value per line (Print, Decode), and what a
// command has printed so far (Follow, Feed): all of it is kept, so that an event
// can be waited for also after it has happened. It must not know what an event
// means, nor how a command comes to run; it imports nothing of the lab.
//
// Goroutines: two per Feed. They end once the command has ended and its output
// is read. Whoever calls Follow ends the command, and waits for Done.
package feed
