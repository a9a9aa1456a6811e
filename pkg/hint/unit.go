package hint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names on the bus.
const (
	busName     = "org.freedesktop.DBus"
	properties  = busName + ".Properties"
	systemdName = "org.freedesktop.systemd1"
	systemdPath = "/org/freedesktop/systemd1"
	manager     = systemdName + ".Manager"
	unit        = systemdName + ".Unit"
	activeState = "ActiveState"
)

// answerTime is how long the bus and systemd have to answer all that a set makes us ask.
const answerTime = 10 * time.Second

var errNoAnswer = fmt.Errorf("hear of systemd's units: no answer over D-Bus within %s; do dbus and systemd run, or hang?", answerTime)

func hasUnit(w Watch) bool { return w.Unit != "" }

func (e *Engine) runUnits(ctx context.Context, s source) error {
	return e.again(ctx, s, hasUnit, e.watchUnits)
}

// watchUnits hears of units over D-Bus, until the bus or systemd is gone from it.
func (e *Engine) watchUnits(ctx context.Context, set []Watch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(answerTime, func() { cancel(errNoAnswer) })
	defer limit.Stop()
	err := e.hearUnits(ctx, set, limit)
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		return errNoAnswer
	}
	return err
}

// hearUnits does it, and stops limit while it waits for no answer.
func (e *Engine) hearUnits(ctx context.Context, set []Watch, limit *time.Timer) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx),
		dbus.WithAuth(dbus.AuthExternal(strconv.Itoa(os.Getuid()))), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return fmt.Errorf("connect to D-Bus, to hear of systemd's units: %w; does dbus run, and is its socket in this container?", err)
	}
	defer func() { _ = bus.Close() }()
	signals := make(chan *dbus.Signal)
	bus.Signal(signals)
	u := units{engine: e, set: set, bus: bus}
	if err := u.subscribe(ctx); err != nil {
		return fmt.Errorf("subscribe to systemd's units: %w; does systemd run here?", err)
	}
	if err := u.look(ctx); err != nil { // after the subscription: nothing goes unseen in between
		return err
	}
	limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, ok := <-signals:
			switch {
			case !ok:
				return errors.New("hear of systemd's units: the connection to D-Bus ended; does dbus run?")
			case s.Sender == busName && s.Name == busName+".NameOwnerChanged" && !u.from(s.Body):
				return errors.New("hear of systemd's units: systemd left D-Bus, or is another")
			case s.Sender != u.systemd: // anybody may send anything
			case s.Name == properties+".PropertiesChanged":
				u.changed(s)
			case s.Name == manager+".Reloading" && len(s.Body) == 1 && s.Body[0] == false: // it has reloaded
				limit.Reset(answerTime)
				if err := u.look(ctx); err != nil {
					return err
				}
				limit.Stop()
			}
		}
	}
}

// units is what is known of the units of a set on one connection.
type units struct {
	engine  *Engine
	set     []Watch
	bus     *dbus.Conn
	systemd string                       // its name on this bus that nobody else can have
	at      map[dbus.ObjectPath][]string // by what names the set has them: some may be aliases
	missing map[string]string            // by unit: why
}

// subscribe asks for what systemd says.
func (u *units) subscribe(ctx context.Context) error {
	fromSystemd := dbus.WithMatchSender(systemdName)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, systemdName)},
		{fromSystemd, dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"), dbus.WithMatchArg(0, unit)},
		{fromSystemd, dbus.WithMatchInterface(manager), dbus.WithMatchMember("Reloading")},
	} {
		if err := u.bus.AddMatchSignalContext(ctx, match...); err != nil {
			return err
		}
	}
	if err := u.bus.Object(systemdName, systemdPath).CallWithContext(ctx, manager+".Subscribe", 0).Err; err != nil {
		return err
	}
	return u.bus.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, systemdName).Store(&u.systemd)
}

// from says whether a NameOwnerChanged names the systemd that we know.
func (u *units) from(body []any) bool { return len(body) == 3 && body[2] == u.systemd }

// look asks for each unit, and tells what is new about those that were watched before.
func (u *units) look(ctx context.Context) error {
	u.at, u.missing = map[dbus.ObjectPath][]string{}, map[string]string{}
	names := map[string]bool{}
	for _, w := range u.set {
		names[w.Unit] = true
	}
	maps.DeleteFunc(u.engine.units, func(name, _ string) bool { return !names[name] })
	for name := range names {
		path, found, is, err := u.ask(ctx, name)
		if refused := (dbus.Error{}); errors.As(err, &refused) { // the others may do
			u.missing[name] = fmt.Sprintf("ask systemd for %s: %v", name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("ask systemd for %s: %w", name, err)
		}
		if !found {
			u.missing[name] = fmt.Sprintf("systemd knows no %s; is that its name, and is it installed?", name)
		}
		u.at[path] = append(u.at[path], name)
		if _, known := u.engine.units[name]; !known {
			u.engine.units[name] = is
		}
		u.tell(name, is)
	}
	u.report()
	return nil
}

// ask asks for one unit, which makes systemd load it.
func (u *units) ask(ctx context.Context, name string) (path dbus.ObjectPath, found bool, state string, err error) {
	if err := u.bus.Object(u.systemd, systemdPath).CallWithContext(ctx, manager+".LoadUnit", 0, name).Store(&path); err != nil {
		return "", false, "", err
	}
	get := func(property string) (value string) {
		if err == nil {
			err = u.bus.Object(u.systemd, path).CallWithContext(ctx, properties+".Get", 0, unit, property).Store(&value)
		}
		return value
	}
	return path, get("LoadState") != "not-found", get(activeState), err
}

// changed takes what systemd says of a unit.
func (u *units) changed(s *dbus.Signal) {
	if len(s.Body) < 2 {
		return
	}
	values, _ := s.Body[1].(map[string]dbus.Variant)
	is, ok := values[activeState].Value().(string)
	if !ok {
		return
	}
	for _, name := range u.at[s.Path] {
		u.tell(name, is)
		if u.missing[name] != "" {
			delete(u.missing, name)
			u.report()
		}
	}
}

// tell tells how a unit is now, if that is new.
func (u *units) tell(name, is string) {
	was := u.engine.units[name]
	if is == was {
		return
	}
	u.engine.units[name] = is
	for _, w := range u.set {
		if w.Unit == name {
			u.engine.tell(w.Check, Unit, is == "inactive" || is == "failed", fmt.Sprintf("%s is %s, and was %s", name, is, was))
		}
	}
}

func (u *units) report() {
	var list []Missing
	for _, w := range u.set {
		if why := u.missing[w.Unit]; why != "" {
			list = append(list, Missing{w.Check, Unit, why})
		}
	}
	u.engine.lacks(Unit, list)
}
