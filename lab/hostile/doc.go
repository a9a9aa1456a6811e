// Package hostile is a BGP neighbour that breaks the rules: an instrument for tests of speakers. It knows enough of the
// protocol to come far, up to Established, and sends messages there that were valid before it changed some of their
// bytes: bits, lengths, types, order, and the message's end. It also connects and does not speak, closes in the middle,
// and sends bytes that never were a message. It sends nothing to anyone but the speaker under test.
//
// All that is random comes from one seed: the same seed makes the same messages. Which connection gets which of them
// depends on the times of both sides.
//
// Goroutines: one per address where it listens or from which it dials, and a reader per connection; Run waits for all.
package hostile
