package peer

import (
	"path/filepath"
	"testing"
)

// BenchmarkOf names the same peer again and again: "direct" is a host that connects itself, "known" a vk that the same
// host started and that connects again, "new" a vk seen for the first time under a known host, "first" a host never
// seen before whose executable's hash is known.
func BenchmarkOf(b *testing.B) {
	d := openDoor(b)
	vk, host := copyTo(b, filepath.Join(d.dir, "vk")), copyTo(b, filepath.Join(d.dir, "host"))
	run := func(name string, forget func(*Namer, *Peer), argv ...string) {
		b.Run(name, func(b *testing.B) {
			n := newNamer([]string{vk})
			c := start(b, argv[0], argv[1:]...)
			defer c.end()
			conn := d.accept(b)
			first, err := n.Of(conn)
			if err != nil {
				b.Fatal(err)
			}
			if first.Host.Name != "host" {
				b.Fatal(first.Host)
			}
			first.Close()
			for b.Loop() {
				forget(n, first)
				p, err := n.Of(conn)
				if err != nil {
					b.Fatal(err)
				}
				p.Close()
			}
		})
	}
	run("direct", func(*Namer, *Peer) {}, host, "helper", "connect", d.path)
	run("known", func(*Namer, *Peer) {}, host, "helper", "run", vk, "helper", "connect", d.path)
	run("new", func(n *Namer, p *Peer) { delete(n.facts, p.process.PID) }, host, "helper", "run", vk, "helper", "connect", d.path)
	run("shell", func(n *Namer, p *Peer) { delete(n.facts, p.process.PID) }, host, "helper", "run", "/bin/sh", "-c", vk+" helper connect "+d.path+"; true")
	run("first", func(n *Namer, p *Peer) { clear(n.facts) }, host, "helper", "run", vk, "helper", "connect", d.path)
}

func BenchmarkCheck(b *testing.B) {
	d := openDoor(b)
	vk, host := copyTo(b, filepath.Join(d.dir, "vk")), copyTo(b, filepath.Join(d.dir, "host"))
	start(b, host, "helper", "run", vk, "helper", "connect", d.path)
	p := d.name(b, newNamer([]string{vk}))
	for b.Loop() {
		if err := p.Check(); err != nil {
			b.Fatal(err)
		}
	}
}
