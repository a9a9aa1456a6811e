package hint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

func hasFiles(w Watch) bool { return len(w.Files) > 0 }

func (e *Engine) runFiles(ctx context.Context, s source) error {
	return e.again(ctx, s, hasFiles, e.watchFiles)
}

// watchFiles watches the directory of each file, since a file that is replaced is
// another file; and where that is not there, the nearest one above it.
func (e *Engine) watchFiles(ctx context.Context, set []Watch) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w; raise fs.inotify.max_user_instances, or free some", err)
	}
	defer func() { _ = w.Close() }()
	checks := map[string][]string{} // by file
	for _, x := range set {
		for _, f := range x.Files {
			f = filepath.Clean(f)
			checks[f] = append(checks[f], x.Check)
		}
	}
	e.watchDirectories(w, checks)
	there := map[string]bool{}
	for f := range checks {
		there[f] = exists(f)
	}
	for _, x := range set {
		for _, f := range x.Files {
			if x.Begin {
				e.tellFile([]string{x.Check}, f, "watched from now on")
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-w.Events:
			if !ok {
				return errors.New("watch files: the end of events")
			}
			e.fileEvent(w, checks, there, ev)
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("watch files: the end of errors")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch files: %w", err)
			}
			for f := range checks { // whatever was in the events that are lost
				e.tellFile(checks[f], f, "events were lost")
			}
			e.watchDirectories(w, checks)
		}
	}
}

// fileEvent tells of a file, or looks anew where a directory above one came or went.
func (e *Engine) fileEvent(w *fsnotify.Watcher, checks map[string][]string, there map[string]bool, ev fsnotify.Event) {
	above := false
	for f := range checks {
		switch {
		case ev.Name == f:
			there[f] = exists(f)
			e.tellFile(checks[f], f, strings.ToLower(ev.Op.String()))
		case strings.HasPrefix(f, strings.TrimSuffix(ev.Name, "/")+"/"):
			above = true
		}
	}
	if !above {
		return
	}
	e.watchDirectories(w, checks)
	for f := range checks {
		if now := exists(f); now != there[f] {
			there[f] = now
			e.tellFile(checks[f], f, map[bool]string{true: "create", false: "remove"}[now])
		}
	}
}

func (e *Engine) tellFile(checks []string, file, what string) {
	for _, c := range checks {
		e.tell(c, File, false, file+": "+what)
	}
}

// watchDirectories watches what has to be watched now, and reports what cannot be.
func (e *Engine) watchDirectories(w *fsnotify.Watcher, checks map[string][]string) {
	var list []Missing
	for f, names := range checks {
		dir := nearest(f)
		err := w.Add(dir)
		for deeper := nearest(f); err == nil && deeper != dir; deeper = nearest(f) { // it came while we looked
			dir = deeper
			err = w.Add(dir)
		}
		for up := dir; err == nil && up != "/"; { // a directory that is removed says so to the one above it
			up = filepath.Dir(up)
			err = w.Add(up)
		}
		if err == nil {
			continue
		}
		for _, c := range names {
			list = append(list, Missing{c, File, fmt.Sprintf("%s: %v", f, err)})
		}
	}
	e.lacks(File, list)
}

// nearest is the deepest directory above a file that is there.
func nearest(file string) string {
	dir := filepath.Dir(file)
	for !exists(dir) && dir != "/" {
		dir = filepath.Dir(dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
