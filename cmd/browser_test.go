package cmd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A browser is a Chromium without a window, which takes commands and tells events
// as JSON messages that end with a NUL, on the descriptors 3 and 4.
type browser struct {
	t        *testing.T
	in       *os.File
	messages chan browserMessage
	id       int
	session  string
	// complaints are what the browser logged: errors of scripts and violations of
	// the policy of the page.
	complaints []string
}

type browserMessage struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

// browserName returns the program, "" where there is none.
func browserName() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// newBrowser starts a browser with an empty page.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	name := browserName()
	if name == "" {
		t.Skip("no Chromium")
	}
	commandsOut, commandsIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	messagesOut, messagesIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "browser") //nolint:usetesting // processes of a browser outlive it
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), name, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-first-run", "--disable-background-networking", "--remote-debugging-pipe", "--user-data-dir="+profile)
	c.ExtraFiles = []*os.File{commandsOut, messagesIn}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	commandsOut.Close()
	messagesIn.Close()
	b := &browser{t: t, in: commandsIn, messages: make(chan browserMessage, 1000)}
	go b.read(messagesOut)
	t.Cleanup(func() {
		commandsIn.Close() // which ends it
		c.Wait()
		messagesOut.Close()
		for range 100 {
			if os.RemoveAll(profile) == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Log", "Runtime"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read passes on the messages of the browser.
func (b *browser) read(f *os.File) {
	defer close(b.messages)
	for r := bufio.NewReader(f); ; {
		p, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m browserMessage
		if json.Unmarshal(bytes.TrimSuffix(p, []byte{0}), &m) == nil {
			b.messages <- m
		}
	}
}

// call sends a command and waits for its result. What the browser logs meanwhile is
// kept.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.id++
	p, err := json.Marshal(struct {
		ID        int    `json:"id"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
		SessionID string `json:"sessionId,omitempty"`
	}{b.id, method, params, b.session})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(p, 0)); err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.After(2 * time.Minute); ; {
		select {
		case <-deadline:
			b.t.Fatalf("%s: no answer from the browser", method)
		case m, ok := <-b.messages:
			switch {
			case !ok:
				b.t.Fatalf("%s: the browser has ended", method)
			case m.Method == "Log.entryAdded" || m.Method == "Runtime.exceptionThrown" || m.Method == "Runtime.consoleAPICalled":
				b.complaints = append(b.complaints, string(m.Params))
			case m.ID != b.id:
			case m.Error != nil:
				b.t.Fatalf("%s: %s", method, m.Error)
			default:
				if result != nil {
					if err := json.Unmarshal(m.Result, result); err != nil {
						b.t.Fatalf("%s: %v in %s", method, err, m.Result)
					}
				}
				return
			}
		}
	}
}

// open shows a file, and waits until the page says that it has drawn itself.
func (b *browser) open(name string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": "file://" + name}, nil)
	for range 600 {
		if b.text("document.documentElement?.dataset.ready || ''") == "true" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("%s is not drawn; the browser says %q", name, b.complaints)
}

// text evaluates an expression, and returns its value as text.
func (b *browser) text(expression string) string {
	b.t.Helper()
	var result struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, result.ExceptionDetails)
	}
	return fmt.Sprint(result.Result.Value)
}

// click clicks at a point of the page, in its pixels.
func (b *browser) click(x, y float64) {
	b.t.Helper()
	for _, what := range []string{"mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": what, "x": x, "y": y, "button": "left", "clickCount": 1}, nil)
	}
}

// press presses a key.
func (b *browser) press(key string) {
	b.t.Helper()
	for _, what := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": what, "key": key}, nil)
	}
}
