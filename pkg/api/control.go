package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/status"
)

// watchGap is the least time between two Statuses of one watch.
const watchGap = 100 * time.Millisecond

// control answers the calls, each in a goroutine of the gRPC server. All it
// shares with the agent are the Publisher and the Commander.
type control struct {
	anyvipv1.UnimplementedControlServer
	snapshots *status.Publisher
	commander Commander
	operators []string
	serving   context.Context // ends when the server is asked to end, and all calls with it
}

// GetStatus waits for the first Snapshot and answers with the current one.
func (c *control) GetStatus(ctx context.Context, _ *anyvipv1.GetStatusRequest) (*anyvipv1.Status, error) {
	ctx, cancel := c.whileServing(ctx)
	defer cancel()
	s, err := c.snapshots.Next(ctx, 0)
	if err != nil {
		return nil, c.ended(err)
	}
	return statusOf(s), nil
}

// WatchStatus sends until the client or the server ends.
func (c *control) WatchStatus(_ *anyvipv1.WatchStatusRequest, stream grpc.ServerStreamingServer[anyvipv1.Status]) error {
	return c.watch(stream.Context(), stream.Send)
}

// watch sends the current Status, and later the latest, with a gap in between.
// When the server ends, the last one is sent too. send may block: that delays
// this watch and nothing else.
func (c *control) watch(ctx context.Context, send func(*anyvipv1.Status) error) error {
	ctx, cancel := c.whileServing(ctx)
	defer cancel()
	gap := time.NewTimer(0)
	defer gap.Stop()
	var serial uint64
	for {
		select {
		case <-gap.C:
		case <-ctx.Done(): // Next returns at once
		}
		s, err := c.snapshots.Next(ctx, serial)
		if err != nil {
			return c.ended(err)
		}
		if err := send(statusOf(s)); err != nil {
			return err
		}
		serial = s.Serial
		gap.Reset(watchGap)
	}
}

// whileServing is ctx, but not longer than the server serves.
func (c *control) whileServing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.serving, cancel)
	return ctx, func() { stop(); cancel() }
}

// ended is how a call ends whose context did.
func (c *control) ended(err error) error {
	if c.serving.Err() != nil {
		return grpcstatus.Error(codes.Unavailable, "the agent ends")
	}
	return grpcstatus.FromContextError(err).Err()
}
