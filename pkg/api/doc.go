// Package api is how an operator's tools ask a running agent: gRPC on a unix
// socket, the protocol anyvip.v1, its server and its client.
//
// It owns the protocol, the socket and the translation of a Snapshot into the
// protocol's Status. It must not know how a Snapshot came about, and must not
// make anything wait: readers take the published Snapshot, and a slow one only
// delays itself. What changes something goes to a Commander, which turns it into
// an event of the agent loop.
//
// Who may ask is decided by the socket's file mode: its owner and its group. Who may
// change something the kernel's word decides about who is at the other end: root, the
// user that the agent runs as, and Options.Operators; and for reports of a check
// whoever that check names.
//
// Goroutines: those of the gRPC server, all between Run's begin and end.
package api

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate
