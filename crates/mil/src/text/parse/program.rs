//! Programs, functions, blocks and statements.

use super::Parser;
use crate::{
    constant::Literal,
    ir::{Arg, Block, Function, Inputs, Op, Program, ValueId},
    names::sanitize,
    ops::{self, Stage},
    opset::Opset,
    text::{ParseError, lexer::Token},
    types::Type,
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    sync::Arc,
};

/// A name with its value, and the byte at which it begins.
type Attribute<'t> = (usize, Cow<'t, str>, Literal);

/// What an argument says, before literals have become constants.
enum Operand {
    Defined(ValueId),
    Inline(Literal),
}

/// A statement's argument.
enum Operands {
    One(Operand),
    Many(Vec<Operand>),
}

/// A function as far as it has been read.
struct Scope {
    function: Function,
    /// By value: may be read here.
    visible: Vec<bool>,
    /// Values that became visible, in order.
    defined: Vec<ValueId>,
    /// Constants that stood in place; the text does not name them, so they yield their names to those that it does.
    inlined: HashSet<ValueId>,
    /// For each base name, the next suffix to try.
    suffixes: HashMap<String, u64>,
}

impl<'t> Parser<'t> {
    pub(super) fn program(&mut self) -> Result<Program, ParseError> {
        self.expect_keyword("program")?;
        self.expect('(')?;
        let Token::Number(version) = self.token else { return Err(self.unexpected("a version")) };
        let minor = version.strip_prefix("1.").unwrap_or(if version == "1" { "0" } else { "" });
        if minor.is_empty() || !minor.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseError::Version { at: self.lexer.position(self.at), version: version.to_owned() });
        }
        self.advance()?;
        self.expect(')')?;
        let mut program = Program { attributes: self.attribute_map()?, ..Program::default() };
        self.expect('{')?;
        while !self.accept('}')? {
            let at = self.at;
            let function = self.function()?;
            if program.functions.contains_key(&function.name) {
                return Err(self.duplicate(at, "function", &function.name));
            }
            program.functions.insert(function.name.clone(), function);
        }
        Ok(program)
    }

    /// `func main<ios18>(type x, …) [attributes] { … } -> (y, …);`
    fn function(&mut self) -> Result<Function, ParseError> {
        self.expect_keyword("func")?;
        let (_, name) = self.name("the function's name")?;
        self.expect('<')?;
        let (tag_at, tag) = self.name("an opset")?;
        let opset = Opset::from_ios_tag(&tag)
            .ok_or_else(|| ParseError::Opset { at: self.lexer.position(tag_at), tag: tag.into_owned() })?;
        self.expect('>')?;
        let mut scope = Scope::new(Function::new(name, opset));
        scope.function.inputs = self.parameters(&mut scope)?;
        scope.function.attributes = self.attribute_map()?;
        scope.function.body = self.block(&mut scope, Vec::new())?;
        self.expect(';')?;
        Ok(scope.function)
    }

    /// `(type x, type y)`, defined.
    fn parameters(&mut self, scope: &mut Scope) -> Result<Vec<ValueId>, ParseError> {
        let mut ids = Vec::new();
        self.expect('(')?;
        self.list_until(')', |p| {
            let ty = p.ty()?;
            let (at, name) = p.name("a parameter's name")?;
            ids.push(p.define(scope, at, &name, ty, None)?);
            Ok(())
        })?;
        Ok(ids)
    }

    /// `[name = value, …]`, or nothing.
    fn attributes(&mut self) -> Result<Vec<Attribute<'t>>, ParseError> {
        let (mut attributes, mut names) = (Vec::new(), BTreeSet::new());
        if self.accept('[')? {
            self.list_until(']', |p| {
                let (at, name) = p.name("an attribute's name")?;
                if !names.insert(name.clone()) {
                    return Err(p.duplicate(at, "attribute", &name));
                }
                p.expect('=')?;
                attributes.push((at, name, p.value()?));
                Ok(())
            })?;
        }
        Ok(attributes)
    }

    fn attribute_map(&mut self) -> Result<BTreeMap<String, Literal>, ParseError> {
        Ok(self.attributes()?.into_iter().map(|(_, name, value)| (name.into_owned(), value)).collect())
    }

    /// `{ statements } -> (results)`; what it defines is visible only in it.
    fn block(&mut self, scope: &mut Scope, inputs: Vec<ValueId>) -> Result<Block, ParseError> {
        let n_outside = scope.defined.len();
        let mut ops = Vec::new();
        self.expect('{')?;
        while !self.accept('}')? {
            ops.extend(self.statement(scope)?);
        }
        if self.token != Token::Arrow {
            return Err(self.unexpected("`->`"));
        }
        self.advance()?;
        let mut outputs = Vec::new();
        self.expect('(')?;
        self.list_until(')', |p| {
            outputs.push(p.defined(scope)?);
            Ok(())
        })?;
        for id in scope.defined.drain(n_outside..) {
            scope.visible[id.index()] = false;
        }
        Ok(Block { inputs, ops, outputs })
    }

    /// One statement: an operation, or nothing for a constant.
    fn statement(&mut self, scope: &mut Scope) -> Result<Option<Op>, ParseError> {
        let start = self.at;
        let outputs = self.results()?;
        let (_, kind) = self.name("an operation")?;
        let operands = self.arguments(scope)?;
        let attributes = self.attributes()?;
        if kind == "const" {
            self.constant(scope, start, outputs, operands.is_empty(), attributes)?;
            self.expect(';')?;
            return Ok(None);
        }
        let blocks = self.blocks(scope)?;
        self.expect(';')?;
        let (name, operands) = self.sort_attributes(&kind, operands, attributes)?;
        let name = name.unwrap_or_else(|| outputs.first().map_or(&*kind, |(_, _, name)| name).into());
        let inputs = scope.bind(&name, operands);
        let mut ids = Vec::with_capacity(outputs.len());
        for (at, ty, name) in outputs {
            ids.push(self.define(scope, at, &name, ty, None)?);
        }
        Ok(Some(Op { kind: kind.into_owned().into(), name, inputs, outputs: ids, blocks, origin: None }))
    }

    /// `type a, type b =`, or nothing for an operation without results.
    fn results(&mut self) -> Result<Vec<(usize, Type, Cow<'t, str>)>, ParseError> {
        let mut results = Vec::new();
        if self.following()? == Token::Mark('(') {
            return Ok(results);
        }
        loop {
            let ty = self.ty()?;
            let (at, name) = self.name("a result's name")?;
            results.push((at, ty, name));
            if !self.accept(',')? {
                self.expect('=')?;
                return Ok(results);
            }
        }
    }

    /// `(param = argument, …)`.
    fn arguments(&mut self, scope: &Scope) -> Result<BTreeMap<Cow<'t, str>, Operands>, ParseError> {
        let mut operands = BTreeMap::new();
        self.expect('(')?;
        self.list_until(')', |p| {
            let (at, param) = p.name("a parameter")?;
            p.expect('=')?;
            let argument = if p.accept('(')? {
                let mut items = Vec::new();
                p.list_until(')', |p| {
                    items.push(p.operand(scope)?);
                    Ok(())
                })?;
                Operands::Many(items)
            } else {
                Operands::One(p.operand(scope)?)
            };
            if operands.contains_key(&param) {
                return Err(p.duplicate(at, "argument", &param));
            }
            operands.insert(param, argument);
            Ok(())
        })?;
        Ok(operands)
    }

    /// A defined name, or a value in place.
    fn operand(&mut self, scope: &Scope) -> Result<Operand, ParseError> {
        let is_value = match self.token {
            Token::Name(_) => matches!(self.following()?, Token::Mark('(' | '<')),
            _ => false,
        };
        if is_value { self.value().map(Operand::Inline) } else { self.defined(scope).map(Operand::Defined) }
    }

    /// The value with the name that stands here.
    fn defined(&mut self, scope: &Scope) -> Result<ValueId, ParseError> {
        let (at, name) = self.name("a value")?;
        let id = scope.function.by_name(&name).filter(|id| scope.visible[id.index()]);
        id.ok_or_else(|| ParseError::Undefined { at: self.lexer.position(at), name: name.into_owned() })
    }

    fn blocks(&mut self, scope: &mut Scope) -> Result<Vec<Block>, ParseError> {
        let mut blocks = Vec::new();
        while self.is_mark('(') {
            let n_outside = scope.defined.len();
            let inputs = self.parameters(scope)?;
            let block = self.nest(|p| p.block(scope, inputs))?;
            for id in scope.defined.drain(n_outside..) {
                scope.visible[id.index()] = false;
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// `name` apart from the operands that iOS 16 keeps as attributes.
    #[allow(clippy::type_complexity, reason = "the pair is taken apart where it is returned")]
    fn sort_attributes(
        &self,
        kind: &str,
        mut operands: BTreeMap<Cow<'t, str>, Operands>,
        attributes: Vec<Attribute<'t>>,
    ) -> Result<(Option<Arc<str>>, BTreeMap<Cow<'t, str>, Operands>), ParseError> {
        let mut op_name = None;
        for (at, attribute, value) in attributes {
            if attribute == "name" {
                let name = value.as_str().ok_or_else(|| self.expected_at(at, "a string as name", &value))?;
                op_name = Some(name.into());
            } else if ops::stage(kind) == Stage::Run {
                let (at, op) = (self.lexer.position(at), kind.to_owned());
                return Err(ParseError::Attribute { at, op, attribute: attribute.into_owned() });
            } else {
                let Entry::Vacant(free) = operands.entry(attribute.clone()) else {
                    return Err(self.duplicate(at, "argument", &attribute));
                };
                free.insert(Operands::One(Operand::Inline(value)));
            }
        }
        Ok((op_name, operands))
    }

    /// `type x = const()[name = …, val = …]` as a value; its `name` attribute says nothing that `x` does not.
    fn constant(
        &mut self,
        scope: &mut Scope,
        start: usize,
        outputs: Vec<(usize, Type, Cow<'t, str>)>,
        no_operands: bool,
        attributes: Vec<Attribute<'t>>,
    ) -> Result<(), ParseError> {
        // Only for errors: finding a line takes as long as the text before it.
        let place = || self.lexer.position(start);
        if !no_operands {
            return Err(ParseError::Const { at: place(), reason: "has arguments" });
        }
        let Ok([(name_at, declared, name)]) = <[_; 1]>::try_from(outputs) else {
            return Err(ParseError::Const { at: place(), reason: "does not have one result" });
        };
        let mut literal = None;
        for (at, attribute, value) in attributes {
            match &*attribute {
                "name" => {}
                "val" => literal = Some(value),
                _ => {
                    let (at, op) = (self.lexer.position(at), "const".to_owned());
                    return Err(ParseError::Attribute { at, op, attribute: attribute.into_owned() });
                }
            }
        }
        let Some(literal) = literal else { return Err(ParseError::Const { at: place(), reason: "has no val" }) };
        let actual = literal.ty();
        if !declared.agrees(&actual) {
            return Err(ParseError::TypeMismatch { at: place(), declared, actual });
        }
        self.define(scope, name_at, &name, actual, Some(literal)).map(drop)
    }

    /// Adds a value that the text names.
    fn define(
        &self,
        scope: &mut Scope,
        at: usize,
        name: &str,
        ty: Type,
        literal: Option<Literal>,
    ) -> Result<ValueId, ParseError> {
        scope.define(name, ty, literal).ok_or_else(|| self.duplicate(at, "value", name))
    }
}

impl Scope {
    fn new(function: Function) -> Self {
        Self { function, visible: Vec::new(), defined: Vec::new(), inlined: HashSet::new(), suffixes: HashMap::new() }
    }

    /// Adds a value that the text names; `None` when the text has named one so before.
    fn define(&mut self, name: &str, ty: Type, literal: Option<Literal>) -> Option<ValueId> {
        if let Some(holder) = self.function.by_name(name).filter(|id| self.inlined.contains(id)) {
            let fresh = self.fresh_name(name);
            self.function.rename(holder, &fresh);
        }
        let id = self.function.add_named(name, ty, literal)?;
        self.visible.push(true);
        self.defined.push(id);
        Some(id)
    }

    /// Inputs of an operation; its literals become constants that no other can name.
    fn bind(&mut self, op_name: &str, operands: BTreeMap<Cow<'_, str>, Operands>) -> Inputs {
        let mut inputs = Inputs::new();
        for (param, operand) in operands {
            let mut resolve = |operand| match operand {
                Operand::Defined(id) => id,
                Operand::Inline(literal) => self.inline(&format!("{op_name}_{param}"), literal),
            };
            let arg = match operand {
                Operands::One(one) => Arg::One(resolve(one)),
                Operands::Many(many) => Arg::Many(many.into_iter().map(resolve).collect()),
            };
            inputs.insert(param.into_owned().into(), arg);
        }
        inputs
    }

    fn inline(&mut self, base: &str, literal: Literal) -> ValueId {
        let name = self.fresh_name(base);
        let id = self.function.add_named(&name, literal.ty(), Some(literal)).expect("invariant: the name is fresh");
        self.visible.push(false);
        self.inlined.insert(id);
        id
    }

    /// As [`Function::fresh_name`], but in constant time however often `base` comes.
    fn fresh_name(&mut self, base: &str) -> String {
        let base = sanitize(base);
        if self.function.by_name(&base).is_none() {
            return base;
        }
        let suffix = self.suffixes.entry(base.clone()).or_insert(1);
        loop {
            let name = format!("{base}_{suffix}");
            *suffix += 1;
            if self.function.by_name(&name).is_none() {
                return name;
            }
        }
    }
}
