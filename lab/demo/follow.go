package demo

import (
	"io"
	"iter"

	"github.com/anyvip/anyvip/lab"
	"github.com/anyvip/anyvip/lab/feed"
)

// follow starts argv in a node and decodes what it prints, until the story ends.
func follow[E any](s *story, decode func(io.Reader) iter.Seq2[E, error], node string, argv ...string) (*lab.Cmd, *feed.Feed[E], error) {
	cmd := s.lab.Command(s.ctx, node, argv...)
	f, err := feed.Follow(cmd, &cmd.Stdout, decode)
	if err != nil {
		return nil, nil, err
	}
	s.feeds = append(s.feeds, f.Done())
	return cmd, f, nil
}

// feedsEnd waits for the end of every feed.
func (s *story) feedsEnd() {
	for _, done := range s.feeds {
		<-done
	}
}
