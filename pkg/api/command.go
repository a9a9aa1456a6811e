package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/status"
	"github.com/anyvip/anyvip/pkg/vip"
)

// Command is what a client wants done: one of Probe, Drain, Undrain, Heartbeat.
type Command interface{ command() }

// Probe asks for one more probe of a check.
type Probe struct{ Check string }

// Drain takes a service, or the node, off the network.
type Drain struct {
	Service string // empty: the node
	Force   bool   // virtual routers leave although no other takes over
	Reason  string
	Actor   Actor         // a Client says nothing here: the agent knows who asks
	For     time.Duration // 0: until it is taken back
}

// Undrain takes a drain back.
type Undrain struct {
	Service string // empty: the node
	Actor   Actor
}

// Heartbeat is what an application says of itself to a check of kind heartbeat.
type Heartbeat struct {
	Check   string
	Outcome vip.Outcome // Pass, Degraded or Fail
	Detail  string
	Actor   Actor // whether it may, the check says
}

func (Probe) command()     {}
func (Drain) command()     {}
func (Undrain) command()   {}
func (Heartbeat) command() {}

// Reply is what became of a Command.
type Reply struct {
	At       time.Time // when the agent took it
	Replaced bool      // Drain: there was one for the same
	Warning  string    // what the operator should know; may be empty
}

// ErrUnknown is the error of a Commander for a name that it does not know; its text
// names the nearest one.
var ErrUnknown = errors.New("unknown")

// ErrForbidden is the error of a Commander for what the caller may not do.
var ErrForbidden = errors.New("forbidden")

// ErrBusy is the error of a Commander for what it has no room for now.
var ErrBusy = errors.New("busy")

// Commander does what clients want. Do may block until the wish is safe on disk, or
// ctx ends; many goroutines may call it.
type Commander interface {
	Do(ctx context.Context, c Command) (Reply, error)
}

const (
	probeGrace = time.Second // beyond a check's timeout, for CheckNow
	maxProbe   = time.Minute // the longest timeout that a check can have
)

// CheckNow has a check probed and waits for the result.
func (c *control) CheckNow(ctx context.Context, r *anyvipv1.CheckNowRequest) (*anyvipv1.CheckNowResponse, error) {
	ctx, cancel := c.whileServing(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, maxProbe+probeGrace)
	defer stop()
	if _, err := c.operator(ctx); err != nil {
		return nil, err
	}
	asked, err := c.do(ctx, Probe{Check: r.GetCheck()})
	if err != nil {
		return nil, err
	}
	var serial uint64
	for {
		s, err := c.snapshots.Next(ctx, serial)
		if err != nil {
			return nil, c.ended(err)
		}
		serial = s.Serial
		if k, ok := probedSince(s, r.GetCheck(), asked.At); ok {
			return &anyvipv1.CheckNowResponse{Check: checkOf(k, s.Input.Checks[k.Name])}, nil
		}
	}
}

// probedSince is a check whose latest probe began at or after a time.
func probedSince(s *status.Snapshot, name string, asked time.Time) (status.Check, bool) {
	for _, k := range s.Checks {
		if k.Name == name && !k.Last.At.Add(-k.Last.Latency).Before(asked) {
			return k, true
		}
	}
	return status.Check{}, false
}

// Drain hands the wish over.
func (c *control) Drain(ctx context.Context, r *anyvipv1.DrainRequest) (*anyvipv1.DrainResponse, error) {
	if err := target(r.GetService(), r.GetNode()); err != nil {
		return nil, err
	}
	if len(r.GetReason()) > vip.MaxLine {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "the reason has %d bytes; at most %d", len(r.GetReason()), vip.MaxLine)
	}
	actor, err := c.operator(ctx)
	if err != nil {
		return nil, err
	}
	d := Drain{Service: r.GetService(), Force: r.GetForce(), Reason: vip.Line(r.GetReason()), Actor: actor, For: r.GetDuration().AsDuration()}
	if r.GetDuration() != nil && (!r.GetDuration().IsValid() || d.For <= 0) {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "the duration %s is over before it begins; it must be more than zero", d.For)
	}
	ctx, cancel := c.whileServing(ctx)
	defer cancel()
	reply, err := c.do(ctx, d)
	if err != nil {
		return nil, err
	}
	return &anyvipv1.DrainResponse{Replaced: reply.Replaced, Warning: text(reply.Warning)}, nil
}

// Undrain hands the wish over.
func (c *control) Undrain(ctx context.Context, r *anyvipv1.UndrainRequest) (*anyvipv1.UndrainResponse, error) {
	if err := target(r.GetService(), r.GetNode()); err != nil {
		return nil, err
	}
	actor, err := c.operator(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.whileServing(ctx)
	defer cancel()
	reply, err := c.do(ctx, Undrain{Service: r.GetService(), Actor: actor})
	if err != nil {
		return nil, err
	}
	return &anyvipv1.UndrainResponse{Warning: text(reply.Warning)}, nil
}

// outcomes are what an application may say of itself.
var outcomes = map[anyvipv1.Outcome_Enum]vip.Outcome{
	anyvipv1.Outcome_UNSPECIFIED: vip.Pass, anyvipv1.Outcome_PASS: vip.Pass,
	anyvipv1.Outcome_DEGRADED: vip.Degraded, anyvipv1.Outcome_FAIL: vip.Fail,
}

// Heartbeat hands the report over.
func (c *control) Heartbeat(ctx context.Context, r *anyvipv1.HeartbeatRequest) (*anyvipv1.HeartbeatResponse, error) {
	o, ok := outcomes[r.GetOutcome()]
	if !ok {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "%s is no outcome that an application reports; PASS, DEGRADED or FAIL", r.GetOutcome())
	}
	ctx, cancel := c.whileServing(ctx)
	defer cancel()
	_, err := c.do(ctx, Heartbeat{Check: r.GetCheck(), Outcome: o, Detail: vip.Line(r.GetDetail()), Actor: c.actorOf(ctx)})
	if err != nil {
		return nil, err
	}
	return &anyvipv1.HeartbeatResponse{}, nil
}

// target refuses a wish for nothing, and for both.
func target(service string, node bool) error {
	if (service != "") == node {
		return grpcstatus.Error(codes.InvalidArgument, "say a service, or node, and not both")
	}
	return nil
}

func (c *control) do(ctx context.Context, command Command) (Reply, error) {
	reply, err := c.commander.Do(ctx, command)
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil:
		return reply, c.ended(ctx.Err())
	case errors.Is(err, ErrUnknown):
		return reply, grpcstatus.Error(codes.NotFound, err.Error())
	case errors.Is(err, ErrForbidden):
		return reply, grpcstatus.Error(codes.PermissionDenied, err.Error())
	case errors.Is(err, ErrBusy):
		return reply, grpcstatus.Error(codes.ResourceExhausted, err.Error())
	}
	return reply, grpcstatus.Error(codes.FailedPrecondition, err.Error())
}

// Unknown is an ErrUnknown: what there is none of, and what may have been meant.
func Unknown(what, name, nearest string) error {
	text := fmt.Sprintf("there is no %s %q", what, name)
	if nearest != "" {
		text += "; did you mean " + nearest + "?"
	}
	return NotThere(text)
}

// NotThere is an ErrUnknown with a text of its own.
type NotThere string

func (e NotThere) Error() string { return string(e) }

// Is makes it an ErrUnknown.
func (NotThere) Is(target error) bool { return target == ErrUnknown }
