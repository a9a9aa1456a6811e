package bench

import (
	"context"
	"errors"
)

// failures are the parts of a measurement that could not be measured.
type failures struct{ errs []error }

// stop keeps err, if there is one, and says whether to stop: the run was interrupted.
func (f *failures) stop(ctx context.Context, err error) bool {
	if err != nil {
		f.errs = append(f.errs, err)
	}
	return ctx.Err() != nil
}

func (f *failures) join() error { return errors.Join(f.errs...) }
