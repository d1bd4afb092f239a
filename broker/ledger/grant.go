package ledger

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/valetkey/valetkey/keystore"
)

// Grant is one grant of the ledger, from the sign-in until it is forgotten: one that is given again afterwards is another
// Grant. Ledger.mu guards its fields.
type Grant struct {
	ledger  *Ledger
	turn    turn // who has it may talk to the issuer about this grant, and change its record
	record  Record
	aliases []string // other URLs that led to the same resource, in this run of the program
	unsaved bool     // the keychain did not take the newest record
	gone    bool     // forgotten
}

func (l *Ledger) newGrant(rec Record) *Grant { return &Grant{ledger: l, turn: newTurn(), record: rec} }

// Record is the record as it is now. Nobody may write to its slices.
func (g *Grant) Record() Record {
	g.ledger.mu.Lock()
	defer g.ledger.mu.Unlock()
	return g.record
}

// Unsaved reports whether the keychain did not take the newest record yet.
func (g *Grant) Unsaved() bool {
	g.ledger.mu.Lock()
	defer g.ledger.mu.Unlock()
	return g.unsaved
}

// Turn is the right to talk to the issuer about one grant and to change its record. One at a time has it, and gives it back
// with Give.
type Turn struct{ g *Grant }

// Take waits for g's turn.
func (g *Grant) Take(ctx context.Context) (Turn, error) { return Turn{g}, g.turn.take(ctx) }

// Claim takes the turn of the grant that is called as rec is; or that of a new one, fresh, which nobody can find before
// Introduce, but who claims it too waits for its turn. The person may forget the grant while its turn is waited for, so it
// is looked for again then.
func (l *Ledger) Claim(rec Record) (t Turn, fresh bool) {
	for {
		g, fresh := l.claimed(rec)
		if fresh {
			return Turn{g}, true
		}
		g.turn <- struct{}{} // turns are always given back within the bounds of an issuer call
		if t = (Turn{g}); !t.Gone() {
			return t, false
		}
		t.Give()
	}
}

// claimed is the grant that is called as rec is, or a fresh one whose turn is taken.
func (l *Ledger) claimed(rec Record) (g *Grant, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g = cmp.Or(l.find(rec.id()), l.coming[rec.id()]); g != nil {
		return g, false
	}
	g = l.newGrant(rec)
	g.turn <- struct{}{} // at once: nobody else knows of it
	l.coming[rec.id()] = g
	return g, true
}

// Introduce lets everyone find a fresh grant. A grant that is known already stays where it is.
func (t Turn) Introduce() {
	l := t.g.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if id := t.g.record.id(); l.coming[id] == t.g {
		delete(l.coming, id)
		l.grants = append(l.grants, t.g)
	}
}

// Give gives the turn back. A fresh grant that nobody was introduced to is gone with it.
func (t Turn) Give() {
	l := t.g.ledger
	l.mu.Lock()
	if id := t.g.record.id(); l.coming[id] == t.g {
		delete(l.coming, id)
		t.g.gone = true
	}
	l.mu.Unlock()
	t.g.turn.give()
}

// Grant is the grant whose turn it is.
func (t Turn) Grant() *Grant { return t.g }

// Gone reports whether the grant was forgotten, as it may be while its turn was waited for.
func (t Turn) Gone() bool { return t.g.Gone() }

// Gone reports whether g was forgotten. Whoever keeps something about g looks here, under the lock of what they keep: it is
// true before Config.Gone is called.
func (g *Grant) Gone() bool {
	g.ledger.mu.Lock()
	defer g.ledger.mu.Unlock()
	return g.gone
}

// Change writes the record as change leaves it, and only then lets memory have it. change works on a copy. A grant that was
// forgotten stays so: writing it would bring it back.
func (t Turn) Change(ctx context.Context, change func(*Record)) error {
	l := t.g.ledger
	if t.Gone() {
		return nil
	}
	rec := t.g.Record().clone()
	change(&rec)
	rec.Version = recordVersion
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := l.write(ctx, rec.id().item(), rec, grantLines)
	l.Note(err)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.g.record, t.g.unsaved = rec, false
	return nil
}

// Keep is Change for a record that must not be lost even when the keychain fails: memory has it either way, and a job goes
// on trying to write it.
func (t Turn) Keep(ctx context.Context, change func(*Record)) {
	err := t.Change(ctx, change)
	if err == nil {
		return
	}
	g, l := t.g, t.g.ledger
	rec := g.Record().clone()
	change(&rec)
	l.mu.Lock()
	already := g.unsaved
	g.record, g.unsaved = rec, true
	l.mu.Unlock()
	l.cfg.Log.Error("the keychain did not take a record; trying again", "resource", rec.Resource, "error", err)
	if !already {
		l.jobs.Go(g.saveLater)
	}
}

// saveLater tries to write an unsaved record until the keychain takes it, someone else's save did, or the Ledger is closed
// (then it tries once more).
func (g *Grant) saveLater() {
	l := g.ledger
	wait := time.Second
	for last := false; !last; wait = min(2*wait, time.Minute) {
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
			last = true
		}
		g.turn <- struct{}{} // turns are always given back within the bounds of an issuer call
		t := Turn{g}
		var err error
		if g.Unsaved() && !t.Gone() {
			err = t.Change(keystore.Quiet(l.ctx), func(*Record) {})
		}
		t.Give()
		if err == nil {
			l.cfg.Changed()
			return
		}
	}
}

// Reread looks whether the keychain still has the record, before a refresh token is spent: a keychain that cannot be read
// would not take the next one either. A record that is not there was deleted with the keychain's own program, which is the
// person's word: the grant is gone then, and the error is keystore.ErrNotFound.
func (t Turn) Reread(ctx context.Context) (Record, error) {
	l := t.g.ledger
	if t.g.Unsaved() {
		return t.g.Record(), nil // memory is newer
	}
	var kept Record
	err := l.get(ctx, t.g.Record().id().item(), &kept)
	l.Note(err)
	if errors.Is(err, keystore.ErrNotFound) {
		l.drop(t.g)
	}
	if err != nil {
		return Record{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if kept.RefreshedAt.Before(t.g.record.RefreshedAt) {
		kept.RefreshedAt = t.g.record.RefreshedAt
	}
	t.g.record = kept
	return kept, nil
}

// Refreshed notes when the last refresh was, in memory: that is not worth a write of its own, and goes with the next one.
func (t Turn) Refreshed(at time.Time) {
	t.g.ledger.mu.Lock()
	defer t.g.ledger.mu.Unlock()
	t.g.record.RefreshedAt = at
}

// Delete removes the record from the keychain, then from memory, and returns it. Of a grant that was forgotten nothing is
// left to remove: what is in the keychain under its name is that of one that was given again.
func (t Turn) Delete(ctx context.Context) (Record, error) {
	l, rec := t.g.ledger, t.g.Record()
	if t.Gone() {
		return rec, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := l.remove(ctx, rec.id().item(), grantLines)
	l.Note(err)
	if err != nil {
		return Record{}, err
	}
	l.drop(t.g)
	return rec, nil
}

// drop lets go of g in memory.
func (l *Ledger) drop(g *Grant) {
	l.mu.Lock()
	g.gone = true
	g.record.Refresh, g.record.Replaced = kept{}, nil
	l.grants = slices.DeleteFunc(slices.Clone(l.grants), func(o *Grant) bool { return o == g })
	l.mu.Unlock()
	l.cfg.Gone(g)
}
