//! Making, reading and deleting a program's accounts.

use core::cell::RefMut;

use anchor_lang::prelude::*;
use anchor_lang::system_program::{self, Allocate, Assign, CreateAccount, Transfer};
use anchor_lang::{Discriminator, Space};
use bytemuck::Pod;

const DISCRIMINATOR: usize = 8;

/// Creates the PDA of `seeds` (bump included), owned by `program`, with `space` zero bytes and rent from `payer`. Lamports that
/// somebody sent there before do not stand in the way.
pub fn create<'info>(
    payer: AccountInfo<'info>,
    account: AccountInfo<'info>,
    space: usize,
    seeds: &[&[u8]],
    program: &Pubkey,
) -> Result<()> {
    let signer: &[&[&[u8]]] = &[seeds];
    let rent = Rent::get()?.minimum_balance(space);
    let there = account.lamports();
    let space = space as u64;
    let system = system_program::ID;
    if there == 0 {
        let accounts = CreateAccount { from: payer, to: account };
        let call = CpiContext::new_with_signer(system, accounts, signer);
        return system_program::create_account(call, rent, space, program);
    }
    if there < rent {
        let accounts = Transfer { from: payer, to: account.clone() };
        system_program::transfer(CpiContext::new(system, accounts), rent - there)?;
    }
    let accounts = Allocate { account_to_allocate: account.clone() };
    system_program::allocate(CpiContext::new_with_signer(system, accounts, signer), space)?;
    let accounts = Assign { account_to_assign: account };
    system_program::assign(CpiContext::new_with_signer(system, accounts, signer), program)
}

/// The record at the PDA of `seeds` (bump included), which has been derived; `new` where there is none yet, rent from `payer`.
pub fn record<'info, T: AccountSerialize + AccountDeserialize + Space>(
    account: &AccountInfo<'info>,
    payer: &AccountInfo<'info>,
    seeds: &[&[u8]],
    program: &Pubkey,
    new: T,
) -> Result<T> {
    if account.owner == program {
        return T::try_deserialize(&mut &account.try_borrow_data()?[..]);
    }
    create(payer.clone(), account.clone(), DISCRIMINATOR + T::INIT_SPACE, seeds, program)?;
    store(account, &new)?;
    Ok(new)
}

/// Writes a record back.
pub fn store<T: AccountSerialize>(account: &AccountInfo<'_>, record: &T) -> Result<()> {
    record.try_serialize(&mut &mut account.try_borrow_mut_data()?[..])
}

/// Marks a created account as one of kind `T`; the fields are zero.
pub fn fresh<'a, T: Pod + Discriminator>(account: &'a AccountInfo<'_>) -> Result<RefMut<'a, T>> {
    let mut data = account.try_borrow_mut_data()?;
    data[..DISCRIMINATOR].copy_from_slice(T::DISCRIMINATOR);
    Ok(RefMut::map(data, |data| bytemuck::from_bytes_mut(&mut data[DISCRIMINATOR..])))
}

/// The account as one of kind `T` of `program`; `None` when it is anything else, or in use. For batches, in which nothing about an
/// account may fail (I-6).
pub fn view<'a, T: Pod + Discriminator>(account: &'a AccountInfo<'_>, program: &Pubkey) -> Option<RefMut<'a, T>> {
    if account.owner != program {
        return None;
    }
    let data = account.try_borrow_mut_data().ok()?;
    let it = data.len() == DISCRIMINATOR + size_of::<T>() && data.starts_with(T::DISCRIMINATOR);
    it.then(|| RefMut::map(data, |data| bytemuck::from_bytes_mut(&mut data[DISCRIMINATOR..])))
}

/// Deletes an account of the calling program; its rent goes to another account.
pub fn delete(account: &AccountInfo<'_>, to: &AccountInfo<'_>) -> Result<()> {
    require_keys_neq!(*account.key, *to.key, ErrorCode::ConstraintClose);
    let rent = account.lamports();
    **account.try_borrow_mut_lamports()? = 0;
    let mut lamports = to.try_borrow_mut_lamports()?;
    // All lamports there are fit 64 bits.
    **lamports += rent;
    account.assign(&system_program::ID);
    Ok(account.resize(0)?)
}
