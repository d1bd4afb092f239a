package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/valetkey/valetkey/keystore"
)

// recordVersion is the newest format this program writes. A newer one in the keychain is left alone (threat T14).
const recordVersion = 1

// Why an item of the keychain is left alone.
var (
	errNewer = errors.New("it was written by a newer Valet Key")
	errAlien = errors.New("it is not a record of Valet Key")
)

// index lists what is in the keychain, because a keychain cannot be asked. An item is listed before it is written and
// struck off after it was deleted, so nothing is ever in the keychain unlisted; a listed item that is not there is
// one that was never finished.
type index struct {
	Version    int      `json:"v"`
	Grants     []string `json:"grants"`
	Clients    []string `json:"clients"`
	Identities []string `json:"identities,omitempty"`
}

const indexName = "index"

// lines are the part of an index where items of one kind stand.
type lines func(*index) *[]string

func grantLines(i *index) *[]string    { return &i.Grants }
func clientLines(i *index) *[]string   { return &i.Clients }
func identityLines(i *index) *[]string { return &i.Identities }

func shortHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// found is what the keychain holds.
type found struct {
	grants   []Record
	clients  []entered
	problems []error          // records that cannot be read, by name
	alien    map[string]error // the same, as what is said when they are in the way
}

// read reads everything. Records that cannot be read stay where they are.
func (l *Ledger) read(ctx context.Context) (*found, error) {
	if err := l.writing.take(ctx); err != nil {
		return nil, err
	}
	defer l.writing.give()
	if err := l.get(ctx, indexName, &l.index); err != nil && !errors.Is(err, keystore.ErrNotFound) {
		return nil, err
	}
	f := &found{alien: map[string]error{}}
	var err error
	if f.grants, err = readAll[Record](ctx, l, f, l.index.Grants); err != nil {
		return nil, err
	}
	if f.clients, err = readAll[entered](ctx, l, f, l.index.Clients); err != nil {
		return nil, err
	}
	sortRecords(f.grants)
	return f, nil
}

// readAll reads the items called names; what cannot be read goes into f.
func readAll[T any](ctx context.Context, l *Ledger, f *found, names []string) (all []T, err error) {
	for _, name := range names {
		var one T
		switch err := l.get(ctx, name, &one); {
		case err == nil:
			all = append(all, one)
		case errors.Is(err, keystore.ErrNotFound):
		case unreadable(err):
			f.problems = append(f.problems, fmt.Errorf("%s: %w", name, err))
			f.alien[name] = fmt.Errorf("the keychain item %s is in the way: %w", name, err)
		default:
			return nil, err
		}
	}
	return all, nil
}

// unreadable tells a record that is wrong in itself from a keychain that did not answer.
func unreadable(err error) bool {
	return !errors.Is(err, keystore.ErrLocked) && !errors.Is(err, keystore.ErrUnavailable) && !errors.Is(err, keystore.ErrTimeout) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// get reads the item called name into into.
func (l *Ledger) get(ctx context.Context, name string, into any) error {
	b, err := l.cfg.Store.Get(ctx, name)
	if err != nil {
		return err
	}
	var head struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(b, &head) != nil {
		return errAlien // the decoder's words could quote a secret
	}
	if head.Version > recordVersion {
		return errNewer
	}
	if json.Unmarshal(b, into) != nil {
		return errAlien
	}
	return nil
}

// write writes the item called name, listing it first when it is new.
func (l *Ledger) write(ctx context.Context, name string, value any, part lines) error {
	if err := l.inTheWay(name); err != nil {
		return err
	}
	if err := l.writing.take(ctx); err != nil {
		return err
	}
	defer l.writing.give()
	next := l.index
	if listed := part(&next); !slices.Contains(*listed, name) {
		*listed = append(slices.Clone(*listed), name)
		if err := l.setIndex(ctx, next); err != nil {
			return err
		}
	}
	return l.set(ctx, name, value)
}

// remove deletes the item called name, then its line in the index.
func (l *Ledger) remove(ctx context.Context, name string, part lines) error {
	if err := l.inTheWay(name); err != nil {
		return err
	}
	if err := l.writing.take(ctx); err != nil {
		return err
	}
	defer l.writing.give()
	if err := l.cfg.Store.Delete(ctx, name); err != nil {
		return err
	}
	next := l.index
	listed := part(&next)
	at := slices.Index(*listed, name)
	if at < 0 {
		return nil
	}
	*listed = slices.Delete(slices.Clone(*listed), at, at+1)
	return l.setIndex(ctx, next)
}

// setIndex writes the index; an empty one is removed, so that nothing stays behind.
func (l *Ledger) setIndex(ctx context.Context, next index) error {
	next.Version = recordVersion
	write := func() error { return l.set(ctx, indexName, next) }
	if len(next.Grants)+len(next.Clients)+len(next.Identities) == 0 {
		write = func() error { return l.cfg.Store.Delete(ctx, indexName) }
	}
	if err := write(); err != nil {
		return err
	}
	l.index = next
	return nil
}

func (l *Ledger) set(ctx context.Context, name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return l.cfg.Store.Set(ctx, name, b)
}
