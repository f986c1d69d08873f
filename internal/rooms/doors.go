package rooms

import (
	"fmt"
	"go/ast"
	"go/types"
	"slices"
)

// Doors checks that a type is only the list of a package's doors: no file but
// door names the type or calls a method of it, and none of its exported methods
// calls another one. It returns each place that breaks the rule.
func (p *Package) Doors(typeName, door string) []string {
	obj := p.types.Scope().Lookup(typeName)
	if obj == nil {
		return []string{fmt.Sprintf("the package has no type %s", typeName)}
	}
	var broken []string
	for id, used := range p.info.Uses {
		if used == obj && p.file(id.Pos()) != door {
			broken = append(broken, fmt.Sprintf("%s names %s", p.fset.Position(id.Pos()), typeName))
		}
	}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				broken = append(broken, p.throughDoors(f, obj)...)
			}
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

// throughDoors returns the calls of a function to exported methods of a type
// that it must not make.
func (p *Package) throughDoors(f *ast.FuncDecl, obj types.Object) []string {
	var broken []string
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || p.info.Selections[sel] == nil {
			return true
		}
		s := p.info.Selections[sel]
		_, isMethod := s.Obj().(*types.Func)
		if isMethod && s.Obj().Exported() && named(s.Recv()) == obj {
			broken = append(broken, fmt.Sprintf("%s: %s calls %s.%s", p.fset.Position(sel.Pos()), f.Name.Name, obj.Name(), s.Obj().Name()))
		}
		return true
	})
	return broken
}

// named is the declared name of a type or of what it points to; nil for none.
func named(t types.Type) types.Object {
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj()
	}
	return nil
}
