package hint

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
)

const activeState = "ActiveState"

func hasUnit(w Watch) bool { return w.Unit != "" }

func (e *Engine) runUnits(ctx context.Context, s source) error {
	return e.again(ctx, s, hasUnit, e.watchUnits)
}

// watchUnits hears of units over D-Bus.
func (e *Engine) watchUnits(ctx context.Context, set []Watch) error {
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd over D-Bus: %w", err)
	}
	defer conn.Close()
	changes, failed := make(chan *dbus.PropertiesUpdate, 256), make(chan error, 1)
	conn.SetPropertiesSubscriber(changes, failed)
	if err := conn.Subscribe(); err != nil {
		return fmt.Errorf("subscribe to systemd's units: %w", err)
	}
	states := map[string]string{} // by unit
	for _, w := range set {
		p, err := conn.GetUnitPropertyContext(ctx, w.Unit, activeState)
		if err != nil {
			return fmt.Errorf("ask systemd for %s: %w", w.Unit, err)
		}
		states[w.Unit], _ = p.Value.Value().(string)
	}
	e.lacks(Unit, nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("hear of systemd's units: %w", err)
		case c, ok := <-changes:
			if !ok {
				return errors.New("hear of systemd's units: the connection ended")
			}
			v, named := c.Changed[activeState]
			was, watched := states[c.UnitName]
			is, _ := v.Value().(string)
			if !named || !watched || is == was {
				continue
			}
			states[c.UnitName] = is
			for _, w := range set {
				if w.Unit == c.UnitName {
					e.tell(w.Check, Unit, is == "inactive" || is == "failed", fmt.Sprintf("%s is %s, and was %s", w.Unit, is, was))
				}
			}
		}
	}
}
